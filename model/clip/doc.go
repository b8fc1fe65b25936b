// Package clip computes CLIP embeddings of pictures and texts on libtorch, from a model directory in the layout of
// Hugging Face: a vision transformer and a text transformer whose outputs share one space (Radford et al., Learning
// Transferable Visual Models From Natural Language Supervision, ICML 2021).
//
//	files := clip.Files{"config.json": "/models/b32/config.json", …}
//	config, err := clip.ReadConfig(files)
//	preprocess, err := clip.ReadPreprocess(files)
//	tokenizer, err := clip.OpenTokenizer(files)
//
//	err = preprocess.Pixels(pixels, rgb, width, height) // on any goroutine
//	ids := tokenizer.Encode("a photo of a cat")         // on any goroutine
//
//	err = session.Run(func() { // on the session's goroutine
//		model, err := clip.Load(session, files, config, clip.FP32)
//		images, err := model.Images(session.FromFloat32(pixels, 1, 3, 224, 224)) // [1, d]
//		texts, err := model.Texts([][]int64{ids})                                // [1, d]
//	})
//
// Nothing in a directory is believed: sizes are bounded, and every name, shape and token is checked before it is used.
//
// The package does not train, decode picture files, normalise embeddings, choose batches, fetch models, or read the
// pickled weights of PyTorch.
package clip
