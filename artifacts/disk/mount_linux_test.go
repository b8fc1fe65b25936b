package disk

import "testing"

func TestLocalLocks(t *testing.T) {
	const mounts = `22 1 254:1 / / rw,relatime - ext4 /dev/root rw
40 22 0:45 / /mnt/four rw,relatime shared:1 - nfs4 server:/export rw,vers=4.2,local_lock=none,addr=10.0.0.1
41 22 0:46 / /mnt/nolock rw,relatime - nfs server:/export rw,vers=3,nolock,local_lock=all,addr=10.0.0.1
42 22 0:47 /sub\040dir /mnt/flock rw,relatime - nfs server:/export rw,vers=3,local_lock=flock
43 22 0:48 / /mnt/posix rw,relatime - nfs server:/export rw,vers=3,local_lock=posix
44 22 0:49 / /mnt/lustre rw - lustre mgs:/fs rw,localflock
45 22 0:50 / /mnt/named-nolock rw,nolock
`
	for device, want := range map[string]string{
		"254:1": "", "0:45": "", "0:46": "nolock", "0:47": "local_lock=flock", "0:48": "", "0:49": "localflock", "0:50": "", "9:9": "",
	} {
		if got := localLocks(mounts, device); got != want {
			t.Errorf("device %s: %q, want %q", device, got, want)
		}
	}
	if got := openTest(t).LocalLocks(); got != "" {
		t.Errorf("locks of the tests' own directory: %q", got)
	}
}
