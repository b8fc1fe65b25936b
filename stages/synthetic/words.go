package synthetic

// What the textual attribute is called. A topic beyond the list is numbered.
var topics = []string{
	"walnut", "bamboo", "ceramic", "denim", "copper", "velvet",
	"granite", "leather", "linen", "cork", "pewter", "rattan",
}

// Words that say nothing of the attributes.
var (
	adjectives = []string{"Classic", "Compact", "Everyday", "Essential", "Handy", "Modern", "Original", "Premium", "Simple", "Sturdy", "Trusty", "Versatile"}
	nouns      = []string{"Bowl", "Box", "Coaster", "Frame", "Holder", "Lamp", "Mug", "Organizer", "Rack", "Stand", "Tray", "Vase"}
	brands     = []string{"Acme", "Brightside", "Northfield", "O'Hara & Sons", "Pinecrest", "Quill", "Riverstone", "Sunday"}
	fillers    = []string{"for the home", "a gift that lasts", "ships in two days", "easy to clean", "designed with care", "satisfaction guaranteed", "fits every shelf", "made to be used"}
)
