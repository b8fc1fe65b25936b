// Package cluster groups points by k-means, on the device where they are.
//
//	result, err := cluster.KMeans(points, cluster.Options{Clusters: 256}) // points [n, size]
//	if err != nil {
//		return err
//	}
//	fmt.Println(result.Inertia, result.Assignments.Int64s()) // the cluster of each point
//
// All randomness comes from the session's generator. The package knows Euclidean
// distance alone, does not choose the number of clusters, and keeps nothing
// between calls: whoever wants to go on from earlier centroids passes them as
// [Options.Start].
package cluster
