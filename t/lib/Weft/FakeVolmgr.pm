package Weft::FakeVolmgr;

# A volmgr that only speaks: its HTTP API on a Unix socket, with servers and volumes in memory. For tests
# of what is on the other side of the API, which need no disks then.
use strict;
use warnings;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Weft;

use constant BODY_MAX => 65536;

# Starts it; listen: NBD addresses that its status names; volumes: name => size; tcp: a port of
# the loopback instead of a Unix socket. Returns path or port. It ends with us.
sub start
{
	my ($dir, %opt) = @_;
	my $path = "$dir/volmgr.sock";
	my $socket = $opt{tcp}
	    ? IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 16, Proto => 'tcp')
	    : IO::Socket::UNIX->new(Local => $path, Listen => 16);
	die "no socket for a volmgr: $!\n" if !$socket;
	$path = $socket->sockport if $opt{tcp};
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		Weft::die_with_parent();
		my $self = bless { servers => [], volumes => {}, listen => $opt{listen} // [] };
		my $sizes = $opt{volumes} // {};
		$self->answer('POST', '/volumes', { name => $_, size => $sizes->{$_}, k => 4, m => 2 }) for keys %$sizes;
		while (1) {
			my $client = $socket->accept or next;
			$self->serve($client);
			close($client);
		}
	}
	at_end(sub { kill('KILL', $pid); waitpid($pid, 0) });
	return $path;
}

sub serve
{
	my ($self, $client) = @_;
	my $head = '';
	while ($head !~ /\r\n\r\n/) {
		sysread($client, $head, 4096, length $head) or return;
	}
	(my $body) = $head =~ s/\r\n\r\n(.*)\z/\r\n/s ? $1 : '';
	my ($method, $path) = $head =~ m{\A(\S+) /api/v1(\S*) HTTP} or return;
	my ($want) = $head =~ /^Content-Length:\s*(\d+)/mi;
	while (length $body < ($want // 0) && length $body < BODY_MAX) {
		sysread($client, $body, BODY_MAX, length $body) or return;
	}
	my ($status, $reply) = $self->answer($method, $path, length $body ? json_decode($body) : {});
	my $text = ref $reply ? json_encode($reply) : $reply;
	syswrite($client, "HTTP/1.1 $status Status\r\nContent-Length: " . length($text)
		. "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n$text");
	return;
}

sub failure
{
	my ($status, $code, $message, $hint) = @_;
	return ($status, { error => { code => $code, message => $message, hint => $hint } });
}

sub answer
{
	my ($self, $method, $path, $in) = @_;
	my $servers = $self->{servers};
	my $volumes = $self->{volumes};
	$path =~ s/\?(.*)//;
	return (500, 'no JSON at all') if $path eq '/volumes/broken';
	return (200, {
		state => 'ok', message => '', servers => { up => scalar @$servers, total => scalar @$servers },
		volumes => scalar keys %$volumes, size => 6 << 30, free => 3 << 30, code => 'isa_l_rs_cauchy',
		listen => $self->{listen} }) if $path eq '/status';
	if ($path eq '/counters') {
		my $n = ++$self->{asked};
		my $counts = sub { return { count => $_[0], bytes => 4096 * $_[0], ns => 0, buckets => [ (0) x 12, $_[0] ] } };
		my $one = sub { return { name => $_[0], reads => $counts->(100 * $n), routed => $counts->(300 * $n), writes => $counts->(0) } };
		return (200, { ns => 1_000_000_000 * $n, volumes => [$one->('v1')], servers => [$one->('s1')] });
	}
	if ($path eq '/servers' && $method eq 'POST') {
		push @$servers, { number => @$servers + 1, name => $in->{name} // 'server-' . (@$servers + 1),
			address => $in->{address}, host => $in->{host} // 'here', state => 'up', size => 1 << 30,
			free => 1 << 29, slots_used => 3 };
		return (201, $servers->[-1]);
	}
	return (200, { servers => $servers }) if $path eq '/servers';
	if ($path eq '/volumes' && $method eq 'POST') {
		return failure(409, 'name_taken', "there is a volume $in->{name} already", 'choose another name')
		    if $volumes->{ $in->{name} };
		my $vol = $volumes->{ $in->{name} } = { %$in, id => 1, unit => $in->{unit} // 65536,
			code => 'isa_l_rs_cauchy', state => 'ok', used => 4096, extents => 1, clients => 0 };
		return (201, $vol);
	}
	return (200, { volumes => [map { $volumes->{$_} } sort keys %$volumes] }) if $path eq '/volumes';
	my ($name, $map) = $path =~ m{\A/volumes/([^/]+)(/map)?\z} or return failure(404, 'x', 'no such path', '');
	my $vol = $volumes->{$name}
	    or return failure(404, 'no_volume', "there is no volume $name", 'volctl volume list shows all');
	return (200, { extents => [{ extent => 0, shards => [
		map { { server => "server-$_", slot => $_, stale => $_ == 2 ? \1 : \0 } } 1 .. 6] }] }) if $map;
	delete $volumes->{$name} if $method eq 'DELETE';
	%$vol = (%$vol, %$in) if $method eq 'PATCH';
	return (200, $vol);
}

1;
