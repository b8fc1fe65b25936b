package cloud

import (
	"strings"
	"testing"
)

func TestOpen(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"s3://team-cache", "s3://team-cache"},
		{"s3://team-cache/", "s3://team-cache"},
		{"s3://team.cache/a/b?region=eu-central-1&use_path_style=true&endpoint=https://minio.example:9000", "s3://team.cache/a/b?endpoint=https://minio.example:9000"},
		{"gs://team_cache/a?anonymous=true", "gs://team_cache/a"},
		{"azblob://team-cache/a?account=ours", "azblob://team-cache/a"},
	} {
		d, err := Open(tt.url, Options{})
		if err != nil {
			t.Errorf("%s: %v", tt.url, err)
			continue
		}
		if got := d.String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.url, got, tt.want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct{ url, want string }{
		{"", "schemes are azblob, gs, s3"},
		{"s3:team-cache", "schemes are"},
		{"ftp://team-cache", "schemes are"},
		{"s3://%zz", "it is no URL"},
		{"s3:///prefix", "it names no bucket: want s3://BUCKET/PREFIX"},
		{"azblob:///prefix", "it names no container: want azblob://CONTAINER/PREFIX"},
		{"s3://Team/prefix", `"Team" is no name of a bucket: it has 3 to 63 lower-case letters`},
		{"s3://ab", "no name of a bucket"},
		{"s3://team_cache", "no name of a bucket"},
		{"azblob://team--cache", "no name of a container"},
		{"s3://bucket:9000/x", "no name of a bucket"},
		{"s3://key:hunter2@team-cache", "credentials do not belong in the URL"},
		{"s3://team-cache/a#b", "it has a #"},
		{"s3://team-cache/a//b", `the prefix "a//b" has an empty part`},
		{"s3://team-cache/../b", "has an empty part or one of dots alone"},
		{"s3://team-cache?regoin=x", `unknown parameter "regoin": there are anonymous, endpoint, profile, region, use_path_style`},
		{"gs://team-cache?region=x", `unknown parameter "region": there are anonymous, endpoint`},
		{"s3://team-cache?region=a&region=b", "parameter region is given 2 times"},
		{"s3://team-cache?use_path_style=yes", `parameter use_path_style is "yes", want true or false`},
		{"s3://team-cache?endpoint=minio:9000", "parameter endpoint is no address such as https://HOST:PORT"},
		{"s3://team-cache?endpoint=https://me:hunter2@minio", "parameter endpoint is no address"},
		{"azblob://team-cache?endpoint=https://x/?sig=hunter2", "parameter endpoint is no address"},
		{"azblob://team-cache?account=evil.example/x", "parameter account is no name of a storage account"},
		{"azblob://team-cache?account=evil.example%23", "parameter account is no name of a storage account"},
		{"s3://team-cache?aws_secret_access_key=hunter2", `unknown parameter "aws_secret_access_key"`},
		{"s3://team-cache?a=hunter2;b", "no parameters such as name=value"},
	} {
		_, err := Open(tt.url, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.url, err, tt.want)
		}
		quietError(t, err)
	}
}
