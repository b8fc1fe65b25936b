package yelp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/tables"
)

const photosDoc = `
Reads ` + photoFile + `, one JSON object a line (photo_id, business_id, label), and the pictures
<photo_id>.jpg, which are in a folder or in a tar archive, gzip-compressed or not. Both
may be the archive that Yelp hands out, yelp_photos.tar; it is read in place.

Each business gets its best photos, at most per_business: those whose label comes first
in labels, and among those of one label the first by photo_id. A label that is not
listed is not used. A picture that is missing, larger than max_bytes, or no readable
JPEG, PNG, GIF or WebP gives way to the next best. The result does not depend on the
order of the archive, nor on whether pictures are in an archive or a folder.

With items each of them gets at least one row, in the order of items, with a cause where
there is no picture, and other businesses are left out. Without items it is every
business that photos.json names, sorted. Several pictures of one item are rows one after
the other; clip.embed and features.hashed take the mean of their vectors.

Nothing of an archive is trusted. Its names are looked up and never used as paths; links,
devices, names that lead out of the archive, second pictures of one photo and pictures
that are too large are left out and counted, as are photos of other labels and pictures
that photos.json does not name. A truncated or damaged archive is an error, and so is a
source in which no picture is found at all.

A malformed line of photos.json is an error with file, line and column; max_bad_rows
allows some to be left out.

Memory is bounded by the photos, about 200 bytes each, and one picture; chosen pictures of
an archive wait in a scratch file.
`

const photosExample = `
[stages.images]
kind   = "yelp.photos"
source = "../data/yelp_photos.tar"    # or photos.json
photos = "../data/yelp_photos.tar"    # or the folder photos
items  = "corpus.items"               # optional
labels = ["food", "inside", "outside", "menu", "drink"]
`

// itemID is what is read of an item.
type itemID struct {
	Item string `arrow:"item"`
}

// Photos is the stage kind yelp.photos.
type Photos struct {
	Source      stages.Source            `stage:"source" doc:"photos.json, or the tar archive that holds it, gzip-compressed or not"`
	Pictures    stages.Source            `stage:"photos" directory:"true" doc:"the folder of <photo_id>.jpg, or the tar archive that holds it, gzip-compressed or not"`
	Items       stages.In[itemID]        `stage:"items" optional:"true" doc:"the businesses whose pictures are wanted, by external item id; all that have photos when absent"`
	Labels      []string                 `stage:"labels" default:"food,inside,outside,menu,drink" doc:"labels of the photos to use, the best first"`
	PerBusiness int64                    `stage:"per_business" default:"1" min:"1" max:"100" unit:"pictures" doc:"most pictures of one business"`
	MaxBytes    int64                    `stage:"max_bytes" default:"20971520" min:"1024" max:"67108864" unit:"bytes" doc:"size of a picture's file above which it is left out"`
	MaxBadRows  int64                    `stage:"max_bad_rows" default:"0" min:"0" unit:"rows" doc:"how many malformed lines of photos.json may be left out"`
	Images      stages.Out[tables.Image] `stage:"images" doc:"the pictures of each item, the best first, or one row with the cause why there is none"`
}

// Validate checks that labels say an order.
func (s *Photos) Validate() []stages.Problem {
	for i, label := range s.Labels {
		if slices.Contains(s.Labels[:i], label) {
			return []stages.Problem{{Param: "labels", Message: fmt.Sprintf("has %q twice", label)}}
		}
	}
	if len(s.Labels) == 0 {
		return []stages.Problem{{Param: "labels", Message: "must name a label, such as \"food\""}}
	}
	return nil
}

// Run chooses the pictures and writes them.
func (s *Photos) Run(ctx context.Context, env *stages.Env) error {
	index := newPhotoIndex(s.Labels)
	if err := s.want(index); err != nil {
		return err
	}
	if err := s.readIndex(ctx, env, index); err != nil {
		return err
	}
	album, err := newAlbum(env, index, int(s.PerBusiness), s.MaxBytes)
	if err != nil {
		return err
	}
	defer album.close()
	if err := album.gather(ctx, s.Pictures.Files()); err != nil {
		return err
	}
	return s.write(ctx, env, index, album)
}

// want makes the index one of the items alone, where there are some.
func (s *Photos) want(index *photoIndex) error {
	if !s.Items.Present() {
		return nil
	}
	index.items = []string{}
	for row, err := range s.Items.Rows() {
		if err != nil {
			return err
		}
		index.want(row.Item)
	}
	return nil
}

func (s *Photos) write(ctx context.Context, env *stages.Env, index *photoIndex, album *album) error {
	out, err := s.Images.Create()
	if err != nil {
		return err
	}
	defer out.Abort()
	pictures, with := 0, 0
	order := index.order()
	for _, item := range order {
		if err := ctx.Err(); err != nil {
			return err
		}
		b := index.businesses[item]
		for _, chosen := range b.best {
			row, err := album.row(item, chosen)
			if err != nil {
				return err
			}
			if err := out.Append(row); err != nil {
				return err
			}
		}
		if len(b.best) > 0 {
			with++
			pictures += len(b.best)
		} else if err := out.Append(tables.Image{Item: item, Error: b.cause()}); err != nil {
			return err
		}
	}
	env.Count("items", float64(len(order)))
	env.Count("items_with_picture", float64(with))
	env.Count("pictures", float64(pictures))
	return out.Close()
}

// row is that of a chosen picture.
func (a *album) row(item string, c chosen) (tables.Image, error) {
	data, err := a.read(c.place)
	if err != nil {
		return tables.Image{}, fmt.Errorf("reading the picture %s again: %w", c.photo.id, err)
	}
	digest := sha256.Sum256(data)
	return tables.Image{
		Item: item, FinalURL: c.name, Status: http.StatusOK,
		MediaType: c.info.MediaType, Width: int32(c.info.Width), Height: int32(c.info.Height),
		SHA256: hex.EncodeToString(digest[:]), Bytes: data,
	}, nil
}
