// Package cloud is the driver for buckets of object stores: Amazon S3 and what
// speaks its protocol, Google Cloud Storage, Azure Blob Storage.
//
//	driver, err := cloud.Open("s3://team-cache/prismflow?region=eu-central-1", cloud.Options{LookupEnv: os.LookupEnv})
//	...
//	store, err := remote.New(driver, remote.Options{})
//
// Credentials are found as each provider's own tools find them, and never in the
// URL; none is in an error. Opening asks nobody: the bucket is dialled by the
// first request, and dialled again by the next where that was in vain.
//
// A Transport serves the same buckets' objects to an http.Client, for those who
// read single files.
//
// The package makes no bucket, lists none, and deletes nothing. It is the only
// one that knows the SDKs.
package cloud
