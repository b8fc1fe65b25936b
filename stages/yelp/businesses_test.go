package yelp

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/prismflow/prismflow/stages"
	"github.com/prismflow/prismflow/stages/stagetest"
	"github.com/prismflow/prismflow/stages/tables"
)

func readBusinesses(t testing.TB, stage Businesses, path string) ([]tables.Item, map[string]float64, error) {
	t.Helper()
	env := stagetest.Env(t)
	stage.Source = stages.SourceFiles(path)
	result := stagetest.Result(t, &stage.Items)
	if err := stage.Run(context.Background(), env); err != nil {
		return nil, nil, err
	}
	items := result()
	for i := range items {
		if len(items[i].Categories) == 0 {
			items[i].Categories = nil // whether a table gives nil or an empty list is its business
		}
	}
	return items, stagetest.Counts(env), nil
}

const bakery = `{"business_id":"b2","name":"St Honore  Pastries ","address":"935 Race St","city":"Philadelphia","state":"PA","postal_code":"19107","latitude":39.9555052,"longitude":-75.1555641,"stars":4.0,"review_count":80,"is_open":1,"attributes":{"RestaurantsDelivery":"False","OutdoorSeating":"None","BusinessAcceptsCreditCards":"True","BusinessParking":"{'garage': False, 'street': True, 'validated': False, 'lot': True, 'valet': False}","BikeParking":"True","RestaurantsPriceRange2":"1","RestaurantsTakeOut":"True","WiFi":"u'free'","Alcohol":"u'none'","Caters":"True","Ambience":"{u'divey': None, u'trendy': True, u'casual': True}"},"categories":"Restaurants, Beer, Wine & Spirits, Coffee & Tea","hours":{"Monday":"7:0-20:0"}}`

func TestBusinesses(t *testing.T) {
	text := bakery + "\n" + `{"business_id":"b1","name":"Affton","city":"","state":"MO","attributes":null,"categories":null,"hours":null}` + "\n" +
		`{"business_id":"b1","name":"Other","city":"Affton","state":"MO","attributes":{"WiFi":"free","HasTV":true,"GoodForMeal":{"brunch":true,"lunch":false},"Teleport":"True","BestNights":"{'monday': "},"categories":"Notaries"}`
	want := []tables.Item{
		{Item: "b1", Title: "Affton", Description: "MO", Categories: []string{"Notaries"}},
		{
			Item: "b2", Title: "St Honore Pastries", Categories: []string{"Restaurants", "Beer, Wine & Spirits", "Coffee & Tea"},
			Description: "Philadelphia, PA. inexpensive, casual ambience, trendy ambience, free Wi-Fi, take-out, catering, bike parking, parking lot, street parking",
		},
	}
	packed := archive(t, entry{name: businessFile, content: text}, entry{name: reviewFile, content: laterReview})
	for name, data := range map[string][]byte{"business.json": []byte(text), "yelp_dataset.tar": packed, "yelp_dataset.tar.gz": stagetest.Gzip(packed)} {
		got, report, err := readBusinesses(t, Businesses{Attributes: true}, write(t, name, data))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", name, diff)
		}
		for name, n := range map[string]float64{"rows": 3, "items": 2, "duplicate_rows": 1, "unknown_attributes": 1, "unread_attribute_values": 1} {
			if report[name] != n {
				t.Errorf("%s is %v, want %v", name, report[name], n)
			}
		}
	}
	got, _, err := readBusinesses(t, Businesses{}, write(t, "business.json", []byte(bakery)))
	if err != nil || got[0].Description != "Philadelphia, PA" {
		t.Errorf("without attributes: %+v, error %v", got, err)
	}
}

func TestAttributeValues(t *testing.T) {
	for _, c := range []struct {
		name, value string
		want        string
		unread      bool
	}{
		{"WiFi", `"u'free'"`, "free Wi-Fi", false},
		{"WiFi", `"'no'"`, "", false},
		{"WiFi", `"None"`, "", false},
		{"WiFi", `"paid"`, "paid Wi-Fi", false},
		{"Alcohol", `"u'beer_and_wine'"`, "beer and wine", false},
		{"NoiseLevel", `"u'average'"`, "", false},
		{"NoiseLevel", `"u'very_loud'"`, "very loud", false},
		{"RestaurantsPriceRange2", `2`, "moderately priced", false},
		{"RestaurantsPriceRange2", `"7"`, "", true},
		{"Music", `"{'dj': True, 'background_music': True, 'live': False}"`, "background music, DJ", false},
		{"BestNights", `"{'saturday': True, 'friday': True}"`, "best on friday, best on saturday", false},
		{"GoodForMeal", `{"latenight": true, "dinner": true}`, "good for dinner, good for late night", false},
		{"BikeParking", `"True"`, "bike parking", false},
		{"BikeParking", `false`, "", false},
		{"BYOB", `"'no'"`, "", false},
		{"Music", `"__import__('os')"`, "", true},
		{"Music", `"{'dj': [True]}"`, "", true},
		{"Music", `["dj"]`, "", true},
		{"BusinessAcceptsCreditCards", `"True"`, "", false},
	} {
		line := `{"business_id":"b","attributes":{"` + c.name + `":` + c.value + `}}`
		got, report, err := readBusinesses(t, Businesses{Attributes: true}, write(t, "business.json", []byte(line)))
		if err != nil {
			t.Fatal(err)
		}
		if got[0].Description != c.want || (report["unread_attribute_values"] == 1) != c.unread {
			t.Errorf("%s = %s: %q and %v unread, want %q", c.name, c.value, got[0].Description, report["unread_attribute_values"], c.want)
		}
	}
}

func TestBadBusinesses(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"name":"x"}`, `:2: no field "business_id"`},
		{`{"business_id":"b","name":7}`, `:2:27: field "name" is a number, not a string`},
		{`{"business_id":"b","categories":["a"]}`, `:2:33: field "categories" is a list, not a string`},
		{`{"business_id":"b","attributes":"x"}`, `:2:33: field "attributes" is a string, not an object`},
	} {
		path := write(t, "business.json", []byte(bakery+"\n"+c.line))
		_, _, err := readBusinesses(t, Businesses{Attributes: true}, path)
		if err == nil || !strings.HasPrefix(err.Error(), path+c.want) {
			t.Errorf("%s: error %v, want %s", c.line, err, c.want)
		}
		if _, report, err := readBusinesses(t, Businesses{MaxBadRows: 1}, path); c.want != "" && !strings.Contains(c.line, "attributes") && (err != nil || report["bad_rows"] != 1) {
			t.Errorf("%s: with max_bad_rows: %v, error %v", c.line, report, err)
		}
	}
}

func TestRealBusinesses(t *testing.T) {
	got, report, err := readBusinesses(t, Businesses{Attributes: true}, stagetest.RealData(t, "yelp/"+businessFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]float64{"rows": 1000, "bad_rows": 0, "items": 1000, "unknown_attributes": 0, "unread_attribute_values": 0, "items_without_title": 0, "items_without_description": 0} {
		if report[name] != n {
			t.Errorf("%s is %v, want %v", name, report[name], n)
		}
	}
	for _, item := range got {
		text := item.Title + item.Description
		if strings.ContainsAny(text, "{}_*") || strings.Contains(text, "  ") || strings.Contains(item.Description, "u'") {
			t.Errorf("%s: %q", item.Item, text)
		}
		for _, part := range []string{"Beer", "Wine & Spirits", "Mags", "Vintage & Consignment"} {
			if slices.Contains(item.Categories, part) {
				t.Errorf("%s: category %q is a part of one", item.Item, part)
			}
		}
	}
}
