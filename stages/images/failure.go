package images

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"syscall"
	"time"
)

// A cause is why there is no picture, in a word that is counted.
type cause string

const (
	badURL          cause = "bad_url"
	refused         cause = "refused_address"
	unknownHost     cause = "unknown_host"
	noConnection    cause = "no_connection"
	timedOut        cause = "timeout"
	badCertificate  cause = "bad_certificate"
	notFound        cause = "not_found"
	forbidden       cause = "forbidden"
	tooManyRequests cause = "too_many_requests"
	serverError     cause = "server_error"
	oddAnswer       cause = "odd_answer"
	badRedirect     cause = "bad_redirect"
	cutShort        cause = "cut_short"
	tooLarge        cause = "too_large"
	notAPicture     cause = "not_a_picture"
	damaged         cause = "damaged"
	hostGivenUp     cause = "host_given_up"
	proxyFailed     cause = "proxy"
	fileRefused     cause = "refused_file"
	unreadable      cause = "unreadable_file"
	lost            cause = "lost"
)

// A failure is why an item has no picture. Its text goes into the table, so it
// has nothing in it that differs from one try to the next, such as a port or
// the time.
type failure struct {
	cause     cause
	text      string
	status    int           // what the server answered; 0 when it did not
	transient bool          // it may pass
	limits    bool          // it depends on the stage's limits, and may be none under others
	after     time.Duration // how long the server asks to be left alone
	detail    error         // for the log
}

func (f *failure) Error() string { return f.text }

func (f *failure) Unwrap() error { return f.detail }

// passing is a failure that may pass, permanent one that will not.
func passing(c cause, format string, args ...any) *failure {
	return &failure{cause: c, text: fmt.Sprintf(format, args...), transient: true}
}

func permanent(c cause, format string, args ...any) *failure {
	return &failure{cause: c, text: fmt.Sprintf(format, args...)}
}

// byStatus is the failure that a status stands for.
func byStatus(response *http.Response, now time.Time) *failure {
	f := &failure{status: response.StatusCode}
	switch code := response.StatusCode; {
	case code == http.StatusNotFound, code == http.StatusGone:
		f.cause = notFound
	case code == http.StatusTooManyRequests:
		f.cause, f.transient = tooManyRequests, true
	case code == http.StatusProxyAuthRequired:
		return passing(proxyFailed, "the proxy wants to know who asks: HTTP_PROXY and HTTPS_PROXY may have a user and a password")
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		f.cause, f.transient = timedOut, true
	case code >= 500:
		f.cause, f.transient = serverError, true
	case code >= 400:
		f.cause = forbidden
	default:
		f.cause = oddAnswer
	}
	f.text = fmt.Sprintf("the server answered %d", f.status)
	if name := http.StatusText(f.status); name != "" {
		f.text += " " + name
	}
	if f.transient {
		f.after = retryAfter(response.Header.Get("Retry-After"), now)
	}
	return f
}

// byError is the failure that an exchange ended with.
func byError(err error) *failure {
	var known *failure
	if errors.As(err, &known) {
		copied := *known
		return &copied
	}
	f := failureOf(err)
	f.detail = err
	return f
}

// failureOf says in stable words what the network reports.
func failureOf(err error) *failure {
	var (
		operation   *net.OpError
		address     *refusedAddress
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		malformed   textproto.ProtocolError
		timeout     net.Error
		errno       syscall.Errno
	)
	switch {
	case errors.As(err, &operation) && operation.Op == "proxyconnect":
		return passing(proxyFailed, "the proxy that HTTP_PROXY or HTTPS_PROXY names cannot be reached")
	case errors.As(err, &address):
		return &failure{cause: refused, text: address.Error(), limits: true}
	case errors.As(err, &dns):
		return byName(dns)
	case errors.As(err, &certificate):
		return permanent(badCertificate, "the server's certificate is not valid: %s", certificateFault(certificate.Err))
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return permanent(badCertificate, "the server does not speak TLS")
	case errors.As(err, &malformed):
		return permanent(oddAnswer, "the server's answer is not HTTP")
	case errors.As(err, &errno):
		return byErrno(errno)
	case errors.As(err, &timeout) && timeout.Timeout():
		return passing(timedOut, "the server did not answer in time")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return passing(noConnection, "the server closed the connection without an answer")
	}
	return passing(noConnection, "the connection broke")
}

func byName(err *net.DNSError) *failure {
	switch {
	case err.IsNotFound:
		return permanent(unknownHost, "there is no host %s", err.Name)
	case err.IsTimeout:
		return passing(timedOut, "the name server did not answer in time")
	}
	return passing(noConnection, "the name server could not tell the address of %s", err.Name)
}

func byErrno(errno syscall.Errno) *failure {
	if errno.Timeout() {
		return passing(timedOut, "the server did not answer in time")
	}
	return passing(noConnection, "%s", errno.Error())
}

// certificateFault says what is wrong with a certificate without the time.
func certificateFault(err error) string {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "nobody known signed it"
	case errors.As(err, &hostname):
		return "it is another host's"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired or is not valid yet"
	}
	return "it cannot be verified"
}
