# Just enough of an NBD client, by hand, to be a bad one: to stop half-way, to say nonsense, to ask and
# never read. Well-behaved clients in the tests are other people's.
package Weft::NBD;

use strict;
use warnings;
no warnings qw(portable); # 64-bit constants

use IO::Socket::INET;
use Socket qw(MSG_DONTWAIT SOL_SOCKET inet_aton pack_sockaddr_in);
use IO::Socket::UNIX;
use Time::HiRes qw(time);
use Weft;

use constant {
	IHAVEOPT        => 0x49484156454f5054,
	REPLY_MAGIC     => 0x3e889045565a9,
	REQUEST_MAGIC   => 0x25609513,
	SIMPLE_MAGIC    => 0x67446698,
	CHUNK_MAGIC     => 0x668e33ef,
	FIXED_NEWSTYLE  => 1,
	NO_ZEROES       => 2,
	OPT_EXPORT_NAME => 1,
	OPT_ABORT       => 2,
	OPT_LIST        => 3,
	OPT_GO          => 7,
	OPT_STRUCTURED  => 8,
	REP_ACK         => 1,
	SO_SNDBUFFORCE  => 32,
	CMD_READ        => 0,
	CMD_WRITE       => 1,
	CMD_DISC        => 2,
	CMD_FLUSH       => 3,
	CMD_TRIM        => 4,
};

use constant WAIT_S => 90;

sub connect_tcp
{
	my ($address, $room) = @_;
	my ($host, $port) = $address =~ /\A(.*):(\d+)\z/ or die "$address: no address\n";
	my $io = IO::Socket::INET->new(Proto => 'tcp', Timeout => WAIT_S) // return;
	setsockopt($io, SOL_SOCKET, SO_SNDBUFFORCE, $room / 2) or die "SO_SNDBUFFORCE: $!\n" if $room;
	return $io->connect(pack_sockaddr_in($port, inet_aton($host))) ? $io : undef;
}

# Connects to "tcp:HOST:PORT", "HOST:PORT" or "unix:/path"; sends nothing. room (it takes root): for so many
# bytes that it sends; of a client that is routed without structured replies as much as bpf/route.h says.
sub connect
{
	my ($class, $address, %opt) = @_;
	my $io = $address =~ /\Aunix:(.*)\z/
	    ? IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $1)
	    : connect_tcp($address =~ s/\Atcp://r, $opt{room});
	$io or die "$address: $!\n";
	$io->blocking(1);
	return bless { io => $io, handle => 0 }, $class;
}

# Sends all; dies when the other side does not take it in time.
sub put
{
	my ($self, $bytes) = @_;
	my $end = time + WAIT_S;
	$self->{io}->blocking(0);
	while (length $bytes) {
		my $n = syswrite($self->{io}, $bytes);
		if (defined $n) {
			substr($bytes, 0, $n, '');
			next;
		}
		die "send: $!\n" if !$!{EAGAIN} && !$!{EINTR};
		my $bits = '';
		vec($bits, fileno($self->{io}), 1) = 1;
		select(undef, $bits, undef, 0.1);
		die "the server takes no bytes\n" if time >= $end;
	}
	$self->{io}->blocking(1);
	return;
}

# Sends what is taken at once; the number of bytes.
sub put_some
{
	my ($self, $bytes) = @_;
	$self->{io}->blocking(0);
	my $n = syswrite($self->{io}, $bytes);
	$self->{io}->blocking(1);
	return $n // 0;
}

# Exactly so many bytes, or undef at the end of the stream; dies on time-out.
sub get
{
	my ($self, $len) = @_;
	my ($got, $end) = ('', time + WAIT_S);
	while (length($got) < $len) {
		my $left = $end - time;
		die "no answer in " . WAIT_S . " s\n" if !Weft::wait_readable(fileno($self->{io}), $left) || $left <= 0;
		# without waiting here: a socket with an error is readable, and in a map of eBPF's it does not tell
		if (!defined recv($self->{io}, my $some, $len - length($got), MSG_DONTWAIT)) {
			next if $!{EINTR} || $!{EAGAIN};
			return undef;
		} elsif ($some eq '') {
			return undef;
		} else {
			$got .= $some;
		}
	}
	return $got;
}

# Reads until the server closes; dies when it does not within timeout seconds.
sub closed_within
{
	my ($self, $timeout) = @_;
	my $end = time + $timeout;
	while (Weft::wait_readable(fileno($self->{io}), $end - time)) {
		my $n = sysread($self->{io}, my $buf, 65536);
		return 1 if !$n;
	}
	return 0;
}

sub greet
{
	my ($self) = @_;
	my $hello = $self->get(18) // die "closed at once\n";
	my ($magic, $opts, $flags) = unpack('a8 Q> n', $hello);
	die "not fixed newstyle NBD\n" if $magic ne 'NBDMAGIC' || $opts != IHAVEOPT || !($flags & 1);
	$self->put(pack('N', FIXED_NEWSTYLE | NO_ZEROES));
	return;
}

sub option
{
	my ($self, $option, $data) = @_;
	$self->put(pack('Q> N N', IHAVEOPT, $option, length $data) . $data);
	return;
}

# The type and the data of one reply to an option.
sub option_reply
{
	my ($self) = @_;
	my $head = $self->get(20) // return;
	my ($magic, $option, $type, $len) = unpack('Q> N N N', $head);
	die "not a reply to an option\n" if $magic != REPLY_MAGIC || $len > 65536;
	return ($type, $len ? $self->get($len) : '');
}

# Negotiates an export by OPT_GO: simple replies from here on, or structured ones.
sub go
{
	my ($self, $name, %opt) = @_;
	$self->greet;
	if ($self->{structured} = $opt{structured}) {
		$self->option(OPT_STRUCTURED, '');
		my ($type) = $self->option_reply;
		defined $type && $type == REP_ACK or die "no structured replies\n";
	}
	$self->option(OPT_GO, pack('N/a n', $name, 0));
	while (1) {
		my ($type, $data) = $self->option_reply;
		defined $type or die "closed during negotiation\n";
		return $self if $type == REP_ACK;
		die sprintf("OPT_GO: error %#x %s\n", $type, $data) if $type & 0x80000000;
	}
}

sub request
{
	my ($self, $type, $offset, $len, $data) = @_;
	return pack('N n n Q> Q> N', REQUEST_MAGIC, 0, $type, ++$self->{handle}, $offset, $len)
	    . ($data // '');
}

# One simple reply: its error, and len bytes of data when there is none.
sub reply
{
	my ($self, $len) = @_;
	my $head = $self->get(16) // return;
	my ($magic, $error, $handle) = unpack('N N Q>', $head);
	die "not a simple reply\n" if $magic != SIMPLE_MAGIC;
	return ($error, $len && !$error ? $self->get($len) : '');
}

# A chunk of a structured reply, put where it belongs; true: it was the last. Bytes that come twice, or that were
# not asked for, are what this dies of; but for the same bytes of the same part when $self->{twice} is set.
sub _chunk
{
	my ($self, $to, $at, $len, $flags, $type, $data) = @_;
	if ($type == 1 || $type == 2) {
		my $offset = unpack('Q>', $data) - $at;
		$data = $type == 1 ? substr($data, 8) : "\0" x unpack('x8 N', $data);
		my $n = length $data;
		die "a chunk beyond what was asked for\n" if $offset < 0 || $offset + $n > $len;
		for my $from (keys %{ $to->{there} }) {
			next if $offset >= $from + $to->{there}{$from} || $from >= $offset + $n;
			die "bytes that came before\n" if !$self->{twice} || substr($to->{data}, $offset, $n) ne $data;
			$to->{bytes} -= $n;
		}
		substr($to->{data}, $offset, $n, $data);
		$to->{there}{$offset} = $n;
		$to->{bytes} += $n;
	} elsif ($type & 0x8000) {
		$to->{error} = unpack('N', $data);
	}
	return $flags & 1;
}

# The next answer to one of the requests in waiting, { handle => [ offset, length ] }, where only READs have a length:
# handle, error, bytes. Empty at the end of the stream; dies of what no server may send.
sub answer
{
	my ($self, $waiting) = @_;
	while (!$self->{structured}) {
		my $head = $self->get(16) // return;
		my ($magic, $error, $handle) = unpack('N N Q>', $head);
		die 'not a reply: ' . unpack('H*', $head) . "\n" if $magic != SIMPLE_MAGIC;
		my $r = $waiting->{$handle} // die "an answer to nothing: $handle\n";
		return ($handle, $error, '') if $error;
		my $data = $self->get($r->[1]) // return;
		return ($handle, 0, $data);
	}
	while (1) {
		my $head = $self->get(16) // return;
		my ($magic, $flags, $type, $handle) = unpack('N n n Q>', $head);
		my $r = $waiting->{$handle};
		# what is no READ may be answered so
		return ($handle, $flags << 16 | $type, '') if $magic == SIMPLE_MAGIC && $r && !$r->[1];
		die 'not a chunk: ' . unpack('H*', $head) . "\n" if $magic != CHUNK_MAGIC;
		die "a chunk for nothing: $handle\n" if !$r;
		my $len = unpack('N', $self->get(4) // return);
		my $data = $len ? $self->get($len) // return : '';
		my $to = $self->{partial}{$handle} //= { data => "\0" x $r->[1], there => {}, error => 0, bytes => 0 };
		next if !$self->_chunk($to, @$r[0, 1], $flags, $type, $data);
		delete $self->{partial}{$handle};
		die "an answer without some of its bytes\n" if !$to->{error} && $to->{bytes} != $r->[1];
		return ($handle, $to->{error}, $to->{data});
	}
}

1;
