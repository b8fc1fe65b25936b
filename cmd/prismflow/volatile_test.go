package main

import "regexp"

// volatiles are what differs between two runs of the same.
var volatiles = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`"time":"[^"]*"`), `"time":"T"`},
	{regexp.MustCompile(`"finished":"[^"]*"`), `"finished":"T"`},
	{regexp.MustCompile(`"run":"[^"]*"`), `"run":"R"`},
	{regexp.MustCompile(`"versions":\{[^}]*\}`), `"versions":{"go":"V"}`},
	{regexp.MustCompile(`"host":"[^"]*"`), `"host":"H"`},
	{regexp.MustCompile(`"((?:saved_)?seconds)":[0-9.e-]+`), `"$1":0.5`},
	{regexp.MustCompile(`\d+(\.\d+)? s\b`), "0.5 s"},
}
