// Package clip makes the vectors of items' pictures and texts with a CLIP model.
//
//	[stages.embed]
//	kind    = "clip.embed"
//	items   = "corpus.items"
//	images  = "images.images"     # optional
//	weights = "hf://openai/clip-vit-base-patch32"
//
// A picture or a text that was embedded before is not embedded again, whatever
// else changed. The arithmetic is that of package model/clip, the decoding of
// pictures that of stages/picture. The package does not fetch pictures or models.
package clip

import "github.com/prismflow/prismflow/stages"

// Kinds are the stage kinds of this package.
func Kinds() []stages.Kind {
	return []stages.Kind{
		stages.Declare[Embed]("clip.embed", embedVersion, "vectors of items' pictures and texts by a CLIP model").WithDoc(embedDoc, `
[stages.embed]
kind    = "clip.embed"
items   = "corpus.items"
images  = "images.images"     # optional
weights = "hf://openai/clip-vit-base-patch32"`),
	}
}

const embedDoc = `
weights is a CLIP model's directory in the layout of Hugging Face: config.json,
preprocessor_config.json, vocab.json, merges.txt, and model.safetensors or
model.safetensors.index.json with the files that it names. Any size of ViT will do.
It may be one on a hub, hf://owner/name or hf://owner/name@revision, which is
fetched once.

Each item gets one float32 vector for its picture and one for its text,
L2-normalised. The text is title, description, brand and category path, cut
where the model's ends (77 tokens). An item without text, or without a picture
that can be decoded, has a zero vector there and the mask says so. Of several
pictures of an item the vector is the mean of theirs, L2-normalised. Without images
the image vectors have one component, which is zero.

Vectors are remembered by the model's files, the precision, the decoder, and the
bytes of the picture or of the text. Ten new items embed ten; another README in
the model's directory, or another id of an item, embeds nothing; and a killed run
goes on where it was. The report counts what was embedded, reused, broken and
absent.

device, image_batch, text_batch, threads and workers change no result: on a CPU
a vector is the same to the bit in every batch. A GPU's vectors differ from them
in the last bits, and count as the same, as for every stage. precision = "fp16"
and "bf16" are for GPUs.

More pictures that cannot be decoded than max_broken are an error, after all
others are embedded.`
