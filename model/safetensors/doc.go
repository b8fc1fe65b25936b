// Package safetensors reads and writes named tensors in one file: the format in which model weights are published.
//
// A file is a header length (8 bytes, little-endian), a JSON header that says for each tensor its element type, shape
// and place, and then the bytes of all tensors, row-major and little-endian. Nothing in it can be executed, and nothing
// in it is believed: Open checks every length, product and offset against the size of the file before anything is
// allocated by it, so files of any origin can be opened.
//
//	file, err := os.Open("model.safetensors")
//	info, err := file.Stat()
//	weights, err := safetensors.Open(file, info.Size()) // reads the header only
//	embedding, err := weights.Float32("item_embedding.weight")
//	about, err := weights.Info("item_embedding.weight") // about.Shape, about.DType
//
// Write is deterministic: the same tensors in any order give the same bytes.
//
// The package does not open paths, map memory, read sharded indexes, or know what a tensor means. A file with an
// element type of less than a byte, or an 8-bit float, is an error.
package safetensors
