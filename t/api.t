#!/usr/bin/perl
# The control API against a real cluster: what each call gives, and each refusal with its sentence.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HTTP::Tiny;
use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Test::More;
use Weft;

need(qw(nbdsrv volmgr volctl nbdinfo nbdcopy curl));
my $dir = temp_dir();
my $secret = "$dir/secret";
run_ok(program('volctl'), 'cluster', 'init', '--secret', $secret);

my (%server, %daemon);

sub start_server
{
	my ($n, @more) = @_;
	my $store = "$dir/store-$n";
	if (!-e $store) {
		mkdir($store) or die $!;
		run_ok(program('nbdsrv'), '--store', $store, '--format', '--size', '256M', '--secret', $secret);
	}
	$daemon{$n} = daemon_start(name => "nbdsrv", log => "$dir/server-$n.log", argv => [ program('nbdsrv'),
		'--store', $store, '--secret', $secret, '--listen', "unix:$dir/s$n", @more ]);
	return $server{$n} = "unix:$dir/s$n";
}

sub start_volmgr
{
	return daemon_start(name => 'volmgr', log => "$dir/volmgr.log", argv => [ program('volmgr'),
		'--dir', "$dir/meta", '--secret', $secret, '--listen', 'tcp:127.0.0.1:0', '--socket',
		"$dir/sock", '--http', 'tcp:127.0.0.1:0', '--www', build_dir() . '/www/page',
		'--server-timeout', 60000 ]);
}

# One request on the Unix socket: (status, what it says).
sub api
{
	my ($method, $path, $body) = @_;
	my $text = ref($body) ? json_encode($body) : $body // '';
	my $s = IO::Socket::UNIX->new(Peer => "$dir/sock", Timeout => 30) or die "connect: $!";
	local $SIG{ALRM} = sub { die "no answer to $method $path within 90 s\n" };
	alarm(90);
	print $s "$method /api/v1$path HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: "
		. length($text) . "\r\n\r\n$text";
	my $answer = do { local $/; <$s> };
	alarm(0);
	my ($status, $json) = $answer =~ m{\AHTTP/1\.1 (\d+).*?\r\n\r\n(.*)\z}s;
	return ($status, length($json // '') ? json_decode($json) : undef);
}

sub refused
{
	my ($status, $code, $says, $name, @request) = @_;
	my ($got, $body) = api(@request);
	my $e = ref($body) eq 'HASH' ? $body->{error} // {} : {};
	ok($got == $status && ($e->{code} // '') eq $code && ($e->{message} // '') =~ $says, $name)
		or diag("$got " . json_encode($body));
	return $e;
}

sub volume { return { name => $_[0], size => $_[1], k => $_[2], m => $_[3] } }

my $volmgr = start_volmgr();
at_end(sub { daemon_stop($_) for grep { defined } $volmgr, values %daemon });

# ---- nothing there yet --------------------------------------------------------
my ($status, $got) = api('GET', '/status');
is($status, 200, 'the status is given');
is($got->{servers}{total}, 0, 'without servers');
like($got->{message}, qr/no servers yet/i, 'it says so');
like($got->{hint}, qr/server add/, 'and what to do');
is_deeply([ api('GET', '/servers') ], [ 200, { servers => [], total => 0 } ], 'the list of servers is empty');
is_deeply([ api('GET', '/volumes') ], [ 200, { volumes => [], total => 0 } ], 'the list of volumes is empty');
my $e = refused(409, 'not_enough_servers', qr/2\+1 needs 3 servers, and there are 0: 3 are missing/,
	'a volume without servers is refused', 'POST', '/volumes', volume('v', 1 << 20, 2, 1));
like($e->{hint}, qr/server add/, 'with a hint');

# ---- servers -------------------------------------------------------------------
start_server($_) for 1 .. 4;
for my $n (1 .. 3) {
	($status, $got) = api('POST', '/servers', { address => $server{$n}, host => "h$n" });
	is($status, 201, "server $n is added");
	is($got->{name}, "server-$n", 'it gets a name');
	is($got->{state}, 'up', 'and is up');
}
ok($got->{size} > 128 << 20 && $got->{free} > 0, 'it has a size and free space');
is($got->{host}, 'h3', 'and its host');
refused(409, 'address_taken', qr/belongs to server server-1/, 'an address twice is refused',
	'POST', '/servers', { address => $server{1} });
refused(409, 'name_taken', qr/There is a server server-1 already/, 'a name twice is refused',
	'POST', '/servers', { address => $server{4}, name => 'server-1' });
symlink("$dir/s1", "$dir/alias") or die $!;
refused(409, 'store_taken', qr/is server server-1 already/, 'a store twice is refused',
	'POST', '/servers', { address => "unix:$dir/alias" });
refused(409, 'cannot_connect', qr/cannot be added/, 'a server that is not there is refused',
	'POST', '/servers', { address => "unix:$dir/none" });
refused(409, 'cannot_connect', qr/cannot be added/, 'something else than nbdsrv is refused',
	'POST', '/servers', { address => 'unix:' . $volmgr->{socket} });
refused(400, 'bad_address', qr/no address/, 'an address that is none is refused',
	'POST', '/servers', { address => 'tcp:127.0.0.1:99999' });
refused(400, 'bad_name', qr/no name/, 'a name with a slash is refused',
	'POST', '/servers', { address => $server{4}, name => 'a/b' });
refused(400, 'bad_request', qr/"address" is missing/, 'no address is refused', 'POST', '/servers', {});
refused(404, 'no_such_server', qr/no server nobody/, 'an unknown server is said to be so',
	'GET', '/servers/nobody');
refused(404, 'no_such_server', qr/no server nobody/, 'it cannot be removed',
	'DELETE', '/servers/nobody');

# ---- volumes --------------------------------------------------------------------
($status, $got) = api('POST', '/volumes', volume('v', 64 << 20, 2, 1));
is($status, 201, 'a volume is made');
is_deeply([ @$got{qw(name size k m unit state clients used)} ],
	[ 'v', 64 << 20, 2, 1, 65536, 'ready', 0, 0 ], 'as it was asked for');
refused(409, 'name_taken', qr/There is a volume v already/, 'a name twice is refused',
	'POST', '/volumes', volume('v', 1 << 20, 2, 1));
refused(409, 'not_enough_servers', qr/4\+2 needs 6 servers, and there are 3: 3 are missing/,
	'a profile larger than the cluster is refused', 'POST', '/volumes', volume('w', 1 << 20, 4, 2));
refused(400, 'bad_size', qr/cannot have 5000 bytes/, 'a size that is no multiple of 4096 is refused',
	'POST', '/volumes', volume('w', 5000, 2, 1));
refused(400, 'bad_request', qr/at most 63 bytes/, 'a name of 64 bytes is refused',
	'POST', '/volumes', volume('x' x 64, 1 << 20, 2, 1));
refused(400, 'bad_profile', qr/no profile 2\+5/, 'five parity shards are refused',
	'POST', '/volumes', volume('w', 1 << 20, 2, 5));
refused(400, 'bad_request', qr/no JSON object/, 'a body that is no JSON is refused',
	'POST', '/volumes', '{"name":');
refused(400, 'bad_request', qr/no body/, 'no body is refused', 'POST', '/volumes');
refused(404, 'no_such_volume', qr/no volume nobody/, "$_ of an unknown volume is refused", $_,
	'/volumes/nobody', $_ eq 'PATCH' ? { size => 4096 } : undef) for qw(GET PATCH DELETE);
refused(404, 'no_such_volume', qr/no volume nobody/, 'a map of an unknown volume is refused',
	'GET', '/volumes/nobody/map');
refused(404, 'no_such_path', qr/nothing under this path/, 'an unknown path is refused', 'GET', '/x/y/z/a');
refused(405, 'bad_method', qr/cannot be done here/, 'a wrong method is refused', 'PUT', '/volumes', {});

my ($port) = $volmgr->{listen}[0] =~ /:(\d+)\z/;
my $uri = "nbd://127.0.0.1:$port";
spew("$dir/in", join('', map { chr(65 + $_ % 26) x 65536 } 1 .. 512));
run_ok(tool('nbdcopy'), "$dir/in", "$uri/v");
run_ok(tool('nbdcopy'), "$uri/v", "$dir/out");
is(slurp("$dir/in"), substr(slurp("$dir/out"), 0, 32 << 20), '32 MiB come back as they were written');
is(run_ok(tool('nbdinfo'), '--size', "$uri/"), (64 << 20) . "\n", 'the only volume is the default export');
($status, $got) = api('GET', '/volumes/v');
is($got->{extents}, 4, 'four extents were placed');
is($got->{used}, 32 << 20, '32 MiB are used');
cmp_ok($got->{stat}{writes}, '>', 0, 'writes are counted');
($status, $got) = api('GET', '/volumes/v/map?limit=3');
is(scalar @{$got->{extents}}, 3, 'the map is given in pages');
is($got->{next}, 3, 'with the number to go on from');
my %on = map { $_->{server} => 1 } @{$got->{extents}[0]{shards}};
is(scalar keys %on, 3, 'the shards of an extent are on different servers');
($status, $got) = api('GET', '/volumes/v/map?from=3');
ok(@{$got->{extents}} == 1 && !exists $got->{next}, 'the last page has no next');
refused(400, 'bad_request', qr/number/, 'a page that is no number is refused',
	'GET', '/volumes/v/map?from=-1');
refused(409, 'server_in_use', qr/server-2 holds 4 shards/, 'a server with shards is not removed',
	'DELETE', '/servers/server-2');

# ---- resize ----------------------------------------------------------------------
($status, $got) = api('PATCH', '/volumes/v', { size => 128 << 20 });
ok($status == 200 && $got->{size} == 128 << 20, 'a volume grows');
is(run_ok(tool('nbdinfo'), '--size', "$uri/v"), (128 << 20) . "\n", 'a client sees the new size');
refused(409, 'would_shrink', qr/would be lost/, 'it does not shrink by accident',
	'PATCH', '/volumes/v', { size => 16 << 20 });
($status, $got) = api('PATCH', '/volumes/v', { size => 16 << 20, shrink => JSON::PP::true() });
ok($status == 200 && $got->{size} == 16 << 20, 'but when asked to');
($status, $got) = api('GET', '/volumes/v');
is($got->{extents}, 2, 'and gives its extents back');
refused(400, 'bad_size', qr/cannot have 1 bytes/, 'a size of one byte is refused',
	'PATCH', '/volumes/v', { size => 1 });

# ---- delete is refused while a client is there --------------------------------------
my $client = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port", Timeout => 30) or die $!;
sysread($client, my $greeting, 18);
my $name = 'v';
print $client pack('N', 3), 'IHAVEOPT', pack('NN/a', 1, $name); # EXPORT_NAME
$client->flush;
wait_until('the client to be counted', 60, sub { (api('GET', '/volumes/v'))[1]{clients} == 1 });
refused(409, 'volume_in_use', qr/1 client is connected to volume v/,
	'a volume with a client is not deleted', 'DELETE', '/volumes/v');
close($client);
wait_until('the client to be gone', 60, sub { (api('GET', '/volumes/v'))[1]{clients} == 0 });

# ---- a server goes away ---------------------------------------------------------------
daemon_stop(delete $daemon{3});
wait_until('it to be noticed', 60, sub { (api('GET', '/status'))[1]{state} eq 'degraded' });
($status, $got) = api('GET', '/status');
like($got->{message}, qr/1 of 3 servers is not up: server-3 is down/, 'the status names it');
refused(409, 'servers_away', qr/only 2 of 3 are up. Not up: server-3/, 'a volume that needs it is refused',
	'POST', '/volumes', volume('w', 1 << 20, 2, 1));
start_server(3);
wait_until('it to be back', 60, sub { (api('GET', '/status'))[1]{state} eq 'ok' });
pass('it comes back by itself');
daemon_stop(delete $daemon{3});
rename("$dir/store-3", "$dir/old-3") or die $!;
start_server(3);
wait_until('the wrong store to be noticed', 60,
	sub { (api('GET', '/servers/server-3'))[1]{state} eq 'wrong store' });
pass('another store under its address is not used');
daemon_stop(delete $daemon{3});
run_ok('rm', '-rf', "$dir/store-3");
rename("$dir/old-3", "$dir/store-3") or die $!;
start_server(3);
wait_until('it to be back', 60, sub { (api('GET', '/servers/server-3'))[1]{state} eq 'up' });

# ---- lists in pieces, history, metrics --------------------------------------------------------
api('POST', '/volumes', volume("p-$_", $_ << 20, 1, 0)) for 1 .. 11;

sub names
{
	my (undef, $list) = api('GET', $_[0]);
	return join(' ', $list->{total}, map { $_->{name} } @{$list->{volumes}});
}

is(names('/volumes?q=p-&sort=name&limit=3'), '11 p-1 p-2 p-3', 'a piece of a list, sorted as people count');
is(names('/volumes?q=p-&sort=name&limit=3&offset=9'), '11 p-10 p-11', 'its last piece');
is(names('/volumes?q=P-1&sort=size&order=desc'), '3 p-11 p-10 p-1', 'sorted by size, the largest first');
is(names('/volumes?q=p-&offset=50'), '11', 'behind its end is nothing');
refused(400, 'bad_request', qr/number/, 'an offset that is no number is refused', 'GET', '/volumes?offset=x');
api('DELETE', "/volumes/p-$_") for 1 .. 11;
wait_until('a step of the history', 60, sub { @{(api('GET', '/history'))[1]{reads}} > 0 });
($status, $got) = api('GET', '/history?volume=v&span=day');
is($got->{step}, 120, 'a day is given in steps of two minutes');
refused(404, 'no_such_volume', qr/no volume x/, 'there is no history of nothing', 'GET', '/history?volume=x');
$got = run_ok(tool('curl'), '-s', '--unix-socket', "$dir/sock", 'http://x/metrics');
like($got, qr/^weft_server_up\{server="server-1",host="h1"\} 1$/m, 'a server is in the metrics');
like($got, qr/^weft_volume_request_duration_seconds_bucket\{volume="v",op="write",le="\+Inf"\} [1-9]/m,
	'and how long writes took');
SKIP: {
	skip('promtool is not there', 1) if !tool('promtool');
	my $checked = run({ stdin => $got }, tool('promtool'), 'check', 'metrics');
	is("$checked->{status} $checked->{out}$checked->{err}", '0 ', 'promtool finds no fault in them');
}

# ---- over TCP one must show who one is -----------------------------------------------------
my $http = HTTP::Tiny->new(timeout => 90);
my $base = 'http://' . ($volmgr->{http} =~ s{\A(?:tcp:|http://)}{}r);
$got = $http->get("$base/api/v1/volumes/v");
is($got->{status}, 401, 'a volume cannot be looked at over TCP by just anybody');
$got = $http->post("$base/api/v1/volumes", { content => json_encode(volume('w', 1 << 20, 2, 1)),
	headers => { 'Content-Type' => 'application/json' } });
is($got->{status}, 401, 'none can be made');
like($got->{content}, qr/Log in first.*volctl user add/, 'and the answer says what to do');
is($http->delete("$base/api/v1/volumes/v")->{status}, 401, 'none can be deleted');
$got = $http->get("$base/");
is($got->{status}, 200, 'the web page is there');
like($got->{headers}{'content-security-policy'}, qr{\Adefault-src 'none'; script-src 'self';}, 'with a content security policy');
is($http->get("$base/$_")->{status}, 404, "/$_ is not there") for '../HACKING', '%2e%2e/HACKING', 'x';
is($http->get("$base/api/v1/%00")->{status}, 400, 'a path with a NUL is refused');

# ---- hostile requests do no harm ------------------------------------------------------------
for my $bad ("\0" x 1000, "GET /\r\n" . 'x' x 100_000, 'POST /api/v1/volumes HTTP/1.1' . "\r\n"
	. "Content-Length: 99999999999\r\n\r\n", "GET http://[ HTTP/1.1\r\n\r\n", "BREW / HTTP/1.1\r\n\r\n") {
	my $s = IO::Socket::UNIX->new(Peer => "$dir/sock", Timeout => 30) or die $!;
	local $SIG{PIPE} = 'IGNORE';
	print $s $bad;
	shutdown($s, 1);
	local $SIG{ALRM} = sub { die "no end of the connection\n" };
	alarm(90);
	my $drop = do { local $/; <$s> };
	alarm(0);
}
is((api('GET', '/status'))[0], 200, 'it still answers after garbage');

# ---- delete, remove, restart -------------------------------------------------------------------
my $id = (api('GET', '/volumes/v'))[1]{id};
is((api('DELETE', '/volumes/v'))[0], 200, 'the volume is deleted');
($status, $got) = api('POST', '/volumes', volume('v', 1 << 20, 2, 1));
cmp_ok($got->{id}, '>', $id, 'a number is not used again');
$id = $got->{id};
kill('TERM', $volmgr->{pid});
wait_until('volmgr to end', 60, sub { waitpid($volmgr->{pid}, POSIX::WNOHANG()) });
is($?, 0, 'volmgr stops in order, with status 0');
$volmgr = start_volmgr();
($status, $got) = api('GET', '/volumes/v');
ok($status == 200 && $got->{id} == $id && $got->{epoch} == 2, 'a volume is there after a restart, in a new epoch');
is(scalar @{(api('GET', '/servers'))[1]{servers}}, 3, 'and so are the servers');
api('DELETE', '/volumes/v');
ok(wait_until('the server to be free', 60, sub { (api('DELETE', '/servers/server-2'))[0] == 200 }),
	'a server without shards is removed');
($status, $got) = api('POST', '/servers', { address => $server{2} });
is($got->{name}, 'server-4', 'and can be added again, under a new number');

# ---- what volmgr does not start with --------------------------------------------------------------
daemon_stop($volmgr);
undef $volmgr;
run_ok(program('volctl'), 'cluster', 'init', '--secret', "$dir/other");
my @start = (program('volmgr'), '--dir', "$dir/meta", '--listen', "unix:$dir/x", '--socket', "$dir/sock",
	'--http', 'none');
$got = run(@start, '--secret', "$dir/other");
ok($got->{status} == 1 && $got->{err} =~ /belongs to another cluster/, 'the secret of another cluster')
	or diag($got->{err});
$got = run(@start, '--secret', "$dir/none");
ok($got->{status} == 1 && $got->{err} =~ m{\Q$dir/none\E}, 'a secret that is missing') or diag($got->{err});
$got = run(@start, '--secret', $secret, '--threads', '0');
ok($got->{status} == 2 && $got->{err} =~ /number from 1 to 16/, 'a wrong option') or diag($got->{err});
done_testing();
