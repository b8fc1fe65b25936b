package amazon

import (
	"fmt"

	"github.com/prismflow/prismflow/stages/records"
)

// A format is a set of field names. The data sets of 2014 and 2018 share one:
// where they differ, both forms are understood, and their lines may be mixed.
type format int

const (
	unknown format = iota
	before2023
	of2023
)

func (f format) String() string {
	if f == of2023 {
		return "of 2023"
	}
	return "of 2014 or 2018"
}

// A signature is a field for each format that its records have and the others'
// do not.
type signature [of2023 + 1]string

var (
	reviewSignature = signature{before2023: "reviewerID", of2023: "user_id"}
	itemSignature   = signature{before2023: "asin", of2023: "parent_asin"}
)

func (s signature) of(rec records.Record) format {
	switch {
	case rec.Has(s[of2023]):
		return of2023
	case rec.Has(s[before2023]):
		return before2023
	}
	return unknown
}

// A detector knows the format of a source once it has seen a record of it.
// Sources that hold both are refused: their items would have ids of two kinds.
type detector struct {
	signature signature
	found     format
	by        string // what told it: a parameter, or a record's place
}

func newDetector(parameter string, signature signature) detector {
	d := detector{signature: signature, by: fmt.Sprintf("format = %q", parameter)}
	switch parameter {
	case "2014", "2018":
		d.found = before2023
	case "2023":
		d.found = of2023
	}
	return d
}

// of is the format of a record, which must be that of its source. place says
// where the record stands. One without a signature is taken for what the others
// are, so that what it lacks is said in words.
func (d *detector) of(rec records.Record, place func() string) (format, error) {
	if d.found != unknown && rec.Has(d.signature[d.found]) { // a field that is not there takes longer to look for
		return d.found, nil
	}
	switch f := d.signature.of(rec); {
	case f == unknown && d.found == unknown:
		return before2023, nil
	case f == unknown:
		return d.found, nil
	case d.found == unknown:
		d.found, d.by = f, place()
		return f, nil
	default:
		return f, records.Fatal(fmt.Errorf("this record is %s, and the source is %s as %s has it: read each data set by a stage of its own", f, d.found, d.by))
	}
}
