# HTTP for tests: volmgr's API on its Unix socket, and over TCP as a browser or a script does it.
package Weft::HTTP;

use strict;
use warnings;

use Exporter qw(import);
use HTTP::Tiny;
use IO::Socket::UNIX;
use Weft;

our @EXPORT = qw(http_local);

# One request on the Unix socket: (status, what it says).
sub http_local
{
	my ($socket, $method, $path, $body) = @_;
	my $text = ref($body) ? json_encode($body) : $body // '';
	my $s = IO::Socket::UNIX->new(Peer => $socket, Timeout => 30) or die "$socket: $!\n";
	local $SIG{ALRM} = sub { die "no answer to $method $path within 90 s\n" };
	alarm(90);
	print $s "$method /api/v1$path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
	    . length($text) . "\r\n\r\n$text";
	my $answer = do { local $/; <$s> };
	alarm(0);
	my ($status, $json) = ($answer // '') =~ m{\AHTTP/1\.1 (\d+).*?\r\n\r\n(.*)\z}s
	    or die "no answer to $method $path\n";
	return ($status, length($json) ? json_decode($json) : undef);
}

# Somebody with a cookie jar: base is http://HOST:PORT.
sub new
{
	my ($class, $base) = @_;
	return bless { base => $base, http => HTTP::Tiny->new(timeout => 90, keep_alive => 0), headers => {} }, $class;
}

# (status, body, headers). opt: headers, type, raw (the body is text)
sub ask
{
	my ($self, $method, $path, $body, %opt) = @_;
	my %headers = (%{ $self->{headers} }, %{ $opt{headers} // {} });
	$headers{Cookie} = $self->{cookie} if defined $self->{cookie};
	$headers{'X-Weft-CSRF'} = $self->{csrf} if defined $self->{csrf} && !exists $headers{'X-Weft-CSRF'};
	delete $headers{$_} for grep { !defined $headers{$_} } keys %headers;
	my %request = (headers => \%headers);
	if (defined $body) {
		$request{content} = ref $body ? json_encode($body) : $body;
		$headers{'Content-Type'} = $opt{type} // 'application/json';
	}
	my $got = $self->{http}->request($method, "$self->{base}$path", \%request);
	if (defined(my $cookie = $got->{headers}{'set-cookie'})) {
		($self->{cookie}) = $cookie =~ /\A([^;]+)/;
	}
	my $type = $got->{headers}{'content-type'} // '';
	my $said = $type =~ m{\Aapplication/json} && length $got->{content} ? json_decode($got->{content}) : $got->{content};
	return ($got->{status}, $said, $got->{headers});
}

sub api
{
	my ($self, $method, $path, @more) = @_;
	return $self->ask($method, "/api/v1$path", @more);
}

# Logs in (or joins, or registers) and remembers the CSRF token.
sub login
{
	my ($self, $body, $path) = @_;
	my ($status, $said) = $self->api('POST', $path // '/login', $body);
	$self->{csrf} = $said->{csrf} if ref $said && defined $said->{csrf};
	return ($status, $said);
}

1;
