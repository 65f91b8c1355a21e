#!/usr/bin/perl
# What guards the web page and its API, rule by rule: each route asks for its role, each change for the CSRF token, the
# page and the files are sent with policies that run nothing else, and what is too large or malformed is refused.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use HTTP::Tiny;
use IO::Select;
use IO::Socket::INET;
use POSIX ();
use Test::More;
use Weft;
use Weft::HTTP;
use Weft::Tagger;

need(qw(volmgr volctl tagger curl));
# there are many connections further down
exec('sh', '-c', 'ulimit -n 8192 && exec "$@"', 'sh', $^X, $0) if POSIX::sysconf(POSIX::_SC_OPEN_MAX()) < 4096 && !$ENV{WEFT_LIMIT}++;
my $dir = temp_dir();
my $tree = "$dir/tree";
mkdir($tree);
my %evil = ('evil.html' => '<script>top.ran = 1</script>', 'evil.svg' => '<svg xmlns="http://www.w3.org/2000/svg"><script>top.ran = 1</script></svg>',
	'evil.xhtml' => '<html xmlns="http://www.w3.org/1999/xhtml"><script>top.ran = 1</script></html>', 'evil.js' => 'top.ran = 1', 'plain' => '<script>top.ran = 1</script>');
spew("$tree/$_", $evil{$_}) for keys %evil;
my $tagger = Weft::Tagger->new(dir => $tree, base => $dir);
$tagger->wait_idle();
run_ok(program('volctl'), 'cluster', 'init', '--secret', "$dir/secret");
my $volmgr = daemon_start(name => 'volmgr', log => "$dir/volmgr.log", argv => [ program('volmgr'), '--dir', "$dir/meta", '--secret', "$dir/secret",
	'--listen', "unix:$dir/nbd", '--socket', "$dir/vsock", '--http', 'tcp:127.0.0.1:0', '--tagger', "$dir/sock", '--www', build_dir() . '/www/page' ]);
at_end(sub { daemon_stop($volmgr); $tagger->stop() });
my ($host, $port) = $volmgr->{http} =~ /\Atcp:(.*):(\d+)\z/ or die;
my $base = "http://$host:$port";
run_ok({ stdin => "alice is long\n" }, program('volctl'), '--socket', "$dir/vsock", 'user', 'add', 'alice', '--role', 'admin');
my %who = (guest => Weft::HTTP->new($base), map { $_ => Weft::HTTP->new($base) } qw(alice uma rob));
$who{alice}->login({ name => 'alice', password => 'alice is long' });
for (['uma', 'user'], ['rob', 'read-only']) {
	my ($name, $role) = @$_;
	$who{alice}->api('POST', '/people', { name => $name, role => $role, password => "$name is long" });
	$who{$name}->login({ name => $name, password => "$name is long" });
}

# ---- who sends a request a byte at a time, while all else is tested; what comes of it is at the end
my %slow = (
	'a head' => "GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX-Slow: ",
	'lines of a head' => ["GET /api/v1/me HTTP/1.1\r\n", "X-Slow: y\r\n"],
	'a head of an upload' => "PUT /api/v1/tagger/upload?path=slow HTTP/1.1\r\nHost: x\r\nX-Slow: ",
	'a body' => "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n ",
	'a second head' => "GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\nGET /api/v1/me HTTP/1.1\r\nX-Slow: ",
);
my %at = map { $_ => $port } keys %slow;
SKIP: {
	skip('there is no openssl', 1) if !have('openssl');
	run_ok(tool('openssl'), qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost -keyout), "$dir/key.pem", '-out', "$dir/cert.pem");
	my $tls = daemon_start(name => 'volmgr-tls', log => "$dir/tls.log", argv => [ program('volmgr'), '--dir', "$dir/tls-meta", '--secret', "$dir/secret", '--listen', "unix:$dir/tls-nbd",
		'--socket', "$dir/tls-sock", '--http', 'tcp:127.0.0.1:0', '--tls-cert', "$dir/cert.pem", '--tls-key', "$dir/key.pem" ]);
	at_end(sub { daemon_stop($tls) });
	$slow{'a TLS handshake'} = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
	($at{'a TLS handshake'}) = $tls->{http} =~ /:(\d+)\z/;
}
my $dripping = fork() // die "fork: $!\n";
if (!$dripping) {
	Weft::die_with_parent();
	local $SIG{PIPE} = 'IGNORE';
	my (%open, %ended);
	my $began = time;
	for my $name (keys %slow) {
		$open{$name} = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $at{$name}) or die;
		syswrite($open{$name}, ref $slow{$name} ? $slow{$name}[0] : $slow{$name});
	}
	while (%open && time - $began < 60) {
		my $select = IO::Select->new(values %open);
		my %ready = map { $_ => 1 } $select->can_read(1);
		for my $name (keys %open) {
			my $gone = $ready{ $open{$name} } && !sysread($open{$name}, my $got, 1 << 16);
			next if !$gone && defined syswrite($open{$name}, ref $slow{$name} ? $slow{$name}[1] : ' ');
			$ended{$name} = time - $began;
			delete $open{$name};
		}
		select(undef, undef, undef, 0.5); # the pace of a drip, nothing is waited for
	}
	spew("$dir/slow", json_encode(\%ended));
	POSIX::_exit(0);
}

# ---- roles and tokens, of all routes there are
my $doc = json_decode(slurp(src_dir() . '/volmgr/openapi.json'));
my %rank = ('nobody in particular' => 0, 'read-only' => 1, user => 2, admin => 3);
my %is = (guest => 0, rob => 1, uma => 2);
my (@let, @unguarded, $asked);
for my $path (sort keys %{ $doc->{paths} }) {
	next if $doc->{paths}{$path}{servers}; # not under /api
	for my $method (map { uc } sort keys %{ $doc->{paths}{$path} }) {
		my $need = $rank{ $doc->{paths}{$path}{ lc $method }{'x-role'} };
		my @request = ($method, $path =~ s/\{\w+\}/x/gr, $method eq 'GET' ? undef : {});
		for my $name (grep { $is{$_} < $need } sort keys %is) {
			my ($status, $said) = $who{$name}->api(@request);
			$asked++;
			push(@let, "$name: $method $path: $status")
			    if $status != ($name eq 'guest' ? 401 : 403) || $said->{error}{code} ne ($name eq 'guest' ? 'not_logged_in' : 'not_allowed') || !length $said->{error}{hint};
		}
		next if $method eq 'GET';
		my ($status, $said) = $who{alice}->api(@request, headers => { 'X-Weft-CSRF' => undef });
		push(@unguarded, "$method $path: $status") if $status != 403 || $said->{error}{code} ne 'bad_csrf_token';
	}
}
is(($who{guest}->ask('GET', '/metrics'))[0], 401, 'metrics are not for everybody');
is(($who{rob}->ask('GET', '/metrics'))[0], 200, 'but for who may look');
cmp_ok($asked, '>', 80, 'routes were asked for with too few rights');
is_deeply(\@let, [], 'each refuses, and says what to do');
is_deeply(\@unguarded, [], 'no change is made without the CSRF token');
for (['POST', 'mkdir?path=made'], ['POST', 'move?path=plain&to=moved'], ['DELETE', 'file?path=plain'], ['DELETE', 'bin?all=1'], ['DELETE', 'tags?tag=x'], ['POST', 'tags/rename'], ['PUT', 'upload?path=put'],
	['POST', 'file/tags?path=plain'], ['POST', 'bin/restore?id=x'], ['DELETE', 'upload?path=put']) {
	my ($method, $route) = @$_;
	is(($who{uma}->api($method, "/tagger/$route", 'x', type => 'text/plain', headers => { 'X-Weft-CSRF' => undef }))[1]{error}{code}, 'bad_csrf_token', "nor of files: $method $route");
	is(($who{rob}->api($method, "/tagger/$route", 'x', type => 'text/plain'))[0], 403, 'and a reader changes none');
	is(($who{guest}->api($method, "/tagger/$route", 'x', type => 'text/plain'))[0], 401, 'nor a guest');
}
is_deeply([ sort grep { !/^\./ } map { s{.*/}{}r } glob("$tree/*") ], [ sort keys %evil ], 'the files are as they were');
my ($status, $said) = $who{uma}->api('POST', '/tokens', { label => 'script', role => 'read-only' });
my $script = Weft::HTTP->new($base);
$script->{headers} = { Authorization => "Bearer $said->{secret}" };
is(($script->api('GET', '/tagger/file?path=plain'))[0], 200, 'a token for looking looks');
is(($script->api('DELETE', '/tagger/file?path=plain'))[0], 403, 'and changes nothing that its owner might');
is(($who{guest}->api('GET', "/status?token=$said->{secret}&access_token=$said->{secret}"))[0], 401, 'it counts in its header only, where no log has it');

# ---- the socket is its owner's
is((stat("$dir/vsock"))[2] & 0077, 0, 'the Unix socket is closed to others');
SKIP: {
	skip('this needs root', 1) if $> != 0 || !tool('setpriv');
	chmod(0755, $dir);
	isnt(run('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'curl', '-sS', '--max-time', 10, '--unix-socket', "$dir/vsock", 'http://x/api/v1/status')->{status}, 0,
		'and another user cannot ask on it');
}

# ---- the page
my $http = HTTP::Tiny->new(timeout => 60);
my $index = $http->get("$base/");
my $policy = $index->{headers}{'content-security-policy'};
my %policy = map { /^(\S+) (.*)$/ ? ($1 => $2) : () } split(/; /, $policy);
is_deeply([ @policy{qw(default-src script-src style-src connect-src base-uri form-action frame-ancestors)} ], [ "'none'", ("'self'") x 3, "'none'", "'self'", "'none'" ], 'the policy is strict');
unlike($policy, qr/unsafe|\*|https?:/, 'with no way round it');
is($index->{headers}{'x-content-type-options'}, 'nosniff', 'types are not guessed');
is($index->{headers}{'referrer-policy'}, 'no-referrer', 'nobody is told where a link was');
unlike($index->{content}, qr/<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|javascript:|<style/i, 'no script or style stands in the page itself');
my (@bad, @other);
for my $path (glob(src_dir() . '/www/js/*.js')) {
	my $name = $path =~ s{.*/}{}r;
	my $text = slurp($path);
	push(@bad, $name) if $text =~ /\binnerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(\s*['"]on/;
	# what is shown as an example, and the names of SVG, are no addresses that are asked
	push(@other, "$name: $_") for grep { !m{^https?://www\.w3\.org/} } $text =~ m{(?:from|import|fetch|src|href|Worker)\W{1,8}(https?://[^'"`]*)}g;
	is($http->get("$base/js/$name")->{headers}{'content-security-policy'}, $policy, "$name comes with it, too") if $name =~ /worker/;
	push(@bad, "$name asks every $_ ms") for grep { $_ < 10000 } $text =~ /setInterval\([^;]*?, (\d+)\)/g;
}
is_deeply(\@bad, [], 'no text becomes code or HTML, and nothing is asked more often than every 10 s');
is_deeply(\@other, [], 'nothing is loaded from elsewhere');
SKIP: {
	skip('the page is built without libraries', 2) if !-e build_dir() . '/www/page/lib/sigma.min.js';
	my ($libs) = slurp(src_dir() . '/www/Makemodule.am') =~ /^(WWW_LIBS = .*?)^WWW_NOTICES/ms;
	my %libs = map { $_ => 1 } $libs =~ m{(?<![\w/.-])([\w-]+)/[\w./-]+\.(?:js|css)(?![\w.])}g;
	my $notices = $http->get("$base/lib/LICENSES.txt");
	is($notices->{headers}{'content-type'}, 'text/plain; charset=utf-8', 'the notices of libraries are there to be read');
	is_deeply([ grep { $notices->{content} !~ /^\Q$_\E\n\n(?:.*\n){0,4}Copyright/m } 'events', sort keys %libs ], [], 'of each that is sent: ' . join(' ', sort keys %libs));
}
is($http->get("$base/$_")->{status}, 404, "no way out of it: $_") for '..%2f..%2fetc/passwd', 'js/..%2f..%2f..%2fetc/passwd', '%2e%2e/%2e%2e/etc/passwd', 'js/../../secret', 'js//etc/passwd', '.git/config';

# ---- files that are sent are nobody's page
for my $name (sort keys %evil) {
	my ($status, $got, $headers) = $who{uma}->api('GET', "/tagger/content?path=$name");
	is("$status $got", "200 $evil{$name}", "$name is sent");
	like($headers->{'content-security-policy'}, qr/\Asandbox; default-src 'none'; style-src 'unsafe-inline'\z/, 'in a sandbox where nothing runs');
	is($headers->{'x-content-type-options'}, 'nosniff', 'as what it is said to be');
}
like(($who{uma}->ask('GET', '/api/v1/tagger/content?path=evil.html&download=1'))[2]{'content-disposition'} // '', qr/\Aattachment/, 'a download is one');

# ---- too much, and what is no request
sub raw
{
	my ($text) = @_;
	my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
	local $SIG{PIPE} = 'IGNORE';
	print $s $text;
	my ($got, $select) = ('', IO::Select->new($s));
	while ($select->can_read(60)) {
		sysread($s, $got, 1 << 16, length $got) or return $got;
	}
	return 'no end';
}
my $json = "Host: x\r\nContent-Type: application/json\r\nConnection: close\r\n";
like(raw("POST /api/v1/login HTTP/1.1\r\n${json}Content-Length: 500000\r\n\r\n" . 'x' x 500_000), qr/\A(?:HTTP\S+ 413|\z)/, 'a body that is too long is refused');
like(raw("POST /api/v1/login HTTP/1.1\r\n${json}Content-Length: 99999999999\r\n\r\n"), qr/\A(?:HTTP\S+ 4|\z)/, 'before it comes');
like(raw("GET /api/v1/me HTTP/1.1\r\nHost: x\r\nX-Long: " . 'x' x 100_000 . "\r\n\r\n"), qr/\A(?:HTTP\S+ 4|\z)/, 'and headers');
like(raw("GET /" . 'x' x 5000 . " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), qr/\AHTTP\S+ 4/, 'and a path');
my $deep = '[' x 100_000;
like(raw("POST /api/v1/login HTTP/1.1\r\n${json}Content-Length: " . length($deep) . "\r\n\r\n$deep"), qr/\AHTTP\S+ 400/, 'JSON that is nested too deeply');
for my $body ('', 'null', '[]', '{}', '{"name":"","password":"long enough"}', '{"name":1}', '{"name":"a","name":"b","password":"x"}', "{\"name\":\"\\u0000\",\"password\":\"long enough\"}", '{"name":"alice","password":"alice is long","more":1}', "\xff\xfe") {
	like(raw("POST /api/v1/login HTTP/1.1\r\n${json}Content-Length: " . length($body) . "\r\n\r\n$body"), qr/\AHTTP\S+ 400/, 'no login: ' . ($body =~ s/[^ -~]/?/gr));
}
like(raw("POST /api/v1/login HTTP/1.1\r\n${json}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), qr/\A(?:HTTP\S+ 4|\z)/, 'two lengths are no login either');
# what a proxy may read in another way than we do: where the body ends, and whose the request is
my $inner = "GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
for (
	['two lengths that differ', "Content-Length: 2\r\nContent-Length: @{[2 + length $inner]}"],
	['two lengths that are the same', "Content-Length: 2\r\nContent-Length: 2"],
	['a length with a sign', 'Content-Length: +2'],
	['a negative length', 'Content-Length: -2'],
	['a length in another base', 'Content-Length: 0x2'],
	['a list of lengths', 'Content-Length: 2, 2'],
	['a length too large for a number', 'Content-Length: 18446744073709551618'],
	['a space before the colon', "Content-Length : 2"],
	['a name with a tab in it', "Content-Length: 2\r\nX-A\t: b"],
	['an encoding that is none', "Content-Length: 2\r\nTransfer-Encoding: xchunked"],
	['two encodings', "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "2\r\n{}\r\n0\r\n\r\n"],
	['chunks in another encoding', 'Transfer-Encoding: gzip, chunked', "2\r\n{}\r\n0\r\n\r\n"],
	['two hosts', "Content-Length: 2\r\nHost: y"],
	['a chunk without a size', 'Transfer-Encoding: chunked', "zz\r\n{}\r\n0\r\n\r\n"],
	['a chunk of less than nothing', 'Transfer-Encoding: chunked', "-2\r\n{}\r\n0\r\n\r\n"],
	['a chunk of more than there is', 'Transfer-Encoding: chunked', "fffffffffffffff\r\n{}\r\n0\r\n\r\n"],
	['a chunk that does not end', 'Transfer-Encoding: chunked', "2\r\n{}XX0\r\n\r\n"],
) {
	my ($what, $headers, $body) = @$_;
	my $got = raw("POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n$headers\r\n\r\n" . ($body // '{}') . $inner);
	my @answers = $got =~ m{^HTTP/1\.\d (\d+)}mg;
	ok(@answers == 1 && $answers[0] =~ /^(?:400|413)\z/, "$what: refused, and what follows is no request") or diag("@answers");
}
like(raw($inner =~ s/HTTP\/1.1\r\nHost: x/HTTP\/1.0/r), qr/\AHTTP\S+ 200/, 'HTTP/1.0 is answered');
is(scalar(() = raw(("GET /api/v1/me HTTP/1.1\r\nHost: x\r\n\r\n" x 20) . $inner) =~ m{^HTTP/1\.1 200|\}HTTP/1\.1 200}mg), 21, 'and who does not wait for answers gets all of them');
is(($who{alice}->api('GET', '/status'))[0], 200, 'and it serves as before');

# ---- what goes on is told as events of the server
my $s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die;
print $s "GET /api/v1/live HTTP/1.1\r\nHost: x\r\nCookie: $who{rob}{cookie}\r\n\r\n";
my ($stream, $select) = ('', IO::Select->new($s));
while ((() = $stream =~ /^event: live$/mg) < 2 && $select->can_read(60)) {
	sysread($s, $stream, 1 << 16, length $stream) or last;
}
like($stream, qr{\AHTTP/1\.1 200 .*^Content-Type: text/event-stream\r$}ms, 'a stream of events');
is(scalar(() = $stream =~ /^data: \{"state":/mg), 2, 'goes on with the state by itself');

# ---- what became of slow ones
wait_until('an end of all', 60, sub { -s "$dir/slow" });
waitpid($dripping, 0);
my $ended = json_decode(slurp("$dir/slow"));
ok(defined $ended->{$_} && $ended->{$_} < 40, "$_ that comes a byte at a time has an end") or diag($ended->{$_} // 'none in a minute') for sort keys %slow;

# ---- more connections than there is room for
SKIP: {
	skip('this needs 4096 descriptors', 4) if POSIX::sysconf(POSIX::_SC_OPEN_MAX()) < 4096;
	my @held;
	for (1 .. 3050) { # the others wait to be accepted
		my $c = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port, Timeout => 20) or last;
		push(@held, $c);
	}
	cmp_ok(scalar(@held), '==', 3050, scalar(@held) . ' connections that ask nothing');
	my $open = sub { my @n = glob("/proc/$volmgr->{pid}/fd/*"); return scalar @n };
	wait_until('all that are accepted', 60, sub { $open->() >= 2990 });
	is((http_local("$dir/vsock", 'GET', '/status'))[0], 200, 'who comes by the Unix socket still gets in');
	cmp_ok($open->(), '<=', 3064, 'there is an end to them');
	@held = ();
	is(eval { wait_until('room', 60, sub { ($who{alice}->api('GET', '/status'))[0] == 200 }) }, 1, 'and when they go, others do') or diag($@);
}
done_testing();
