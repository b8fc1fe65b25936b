package server

import "fmt"

// A Role is what somebody may do.
type Role uint8

// Roles. Each may do what those before it may.
const (
	NoAccess  Role = iota
	Read           // GET and HEAD
	ReadWrite      // PUT, too
)

// ParseRole reads a role: read, or read-write, for which write is short.
func ParseRole(text string) (Role, error) {
	switch text {
	case "read":
		return Read, nil
	case "read-write", "write":
		return ReadWrite, nil
	}
	return NoAccess, fmt.Errorf("%.100q is no role: read or read-write", text)
}

// String is the role as ParseRole reads it, or "none".
func (r Role) String() string {
	switch r {
	case Read:
		return "read"
	case ReadWrite:
		return "read-write"
	}
	return "none"
}
