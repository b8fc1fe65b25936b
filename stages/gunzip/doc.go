// Package gunzip inflates gzip files: with Intel's ISA-L, which is loaded when
// the program runs and the system has it, and in Go elsewhere.
//
//	text := gunzip.NewReader(bufio.NewReaderSize(file, 256<<10))
//	n, err := text.Read(p) // ErrDamaged, io.ErrUnexpectedEOF where the file is cut off
//
// Both give the same bytes, since a member's check sum is verified whichever
// inflated it, so that no key has to say which one it was. What is around the
// deflated data (headers, check sums, several members, what may follow the last)
// is read by the same code for both.
//
// The package does not compress, reads no other format, and starts no goroutine.
package gunzip
