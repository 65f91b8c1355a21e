#!/usr/bin/perl
# Uploads as curl -T sends them, straight and through volmgr: of more than memory may take, by a slow volume,
# broken off and gone on with, refused before they come, on a full disk.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path);
use IO::Socket::INET;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(time);
use Weft;
use Weft::HTTP;
use Weft::Tagger;

use constant { MIB => 1 << 20, LARGE => 96 << 20, GROWTH_MAX => 24 << 20 };

need(qw(tagger curl));
my $base = temp_dir();
my $dir = "$base/tree";
make_path("$dir/in");
my $sanitized = index(slurp(program('tagger')), '__asan_init') >= 0;
my $tagger = Weft::Tagger->new(dir => $dir, base => $base, args => ['--no-prefetch']);
$tagger->wait_idle();

sub make_file
{
	my ($path, $size) = @_;
	open(my $fh, '>:raw', $path) or die "$path: $!\n";
	my $block = join('', map { pack('N', $_ * 2654435761 % 4294967296) } 1 .. 65536);
	for (my $at = 0; $at < $size; $at += length($block)) {
		print $fh pack('Q', $at), substr($block, 8, $size - $at - 8 < length($block) ? $size - $at - 8 : length($block) - 8);
	}
	close($fh) or die;
	truncate($path, $size);
	return $path;
}

sub same { return run('cmp', @_)->{status} == 0 }
sub left { return [ map { s{.*/}{}r } glob("$dir/.weft/upload/*") ] }
sub curl { return run('curl', '-sS', '--unix-socket', "$base/sock", '-w', '\n%{http_code}', @_) }
sub code { return ($_[0]{out} =~ /([0-9]+)\z/)[0] }
sub url { my ($path, @more) = @_; return "http://tagger/upload?path=$path" . join('', map { "&$_" } @more) }
sub has { my ($path, $size) = @_; return $tagger->get('/upload', path => $path, size => $size)->{offset} }

# Peak of the memory that a process has for itself, from now on.
sub memory_from { open(my $fh, '>', "/proc/$_[0]/clear_refs") or return; print $fh "5\n"; close($fh); return memory($_[0]) }
sub memory { return ((slurp("/proc/$_[0]/status") =~ /VmHWM:\s+([0-9]+)/)[0] // 0) << 10 }

my %behind;

# A client of our own: the head of a request, and what is to be read of its answer.
sub begin
{
	my ($target, $length, @headers) = @_;
	my $s = IO::Socket::UNIX->new(Peer => "$base/sock") or die "$base/sock: $!\n";
	delete $behind{$s};
	put($s, "PUT $target HTTP/1.1\r\nHost: x\r\n" . join('', map { "$_\r\n" } @headers)
		. (defined $length ? "Content-Length: $length\r\n" : '') . "\r\n");
	return $s;
}

sub put
{
	my ($s, $bytes) = @_;
	local $SIG{ALRM} = sub { die "nobody takes what is sent\n" };
	alarm(60);
	for (my $at = 0; $at < length($bytes);) {
		my $n = syswrite($s, $bytes, length($bytes) - $at, $at) // die "write: $!\n";
		$at += $n;
	}
	alarm(0);
	return;
}

# As many bytes as are taken until nothing has been for a second.
sub put_what_goes
{
	my ($s, $max) = @_;
	my ($sent, $since) = (0, time);
	$s->blocking(0);
	while ($sent < $max && time - $since < 1) {
		my $bits = '';
		vec($bits, fileno($s), 1) = 1;
		next if select(undef, $bits, undef, 0.2) <= 0;
		my $n = syswrite($s, 'z' x 65536);
		next if !defined $n;
		$sent += $n;
		$since = time;
	}
	$s->blocking(1);
	return $sent;
}

# What comes behind it is kept for the next call.
sub answer
{
	my ($s) = @_;
	my $text = delete $behind{$s} // '';
	my $end;
	local $SIG{ALRM} = sub { die "no answer: $text\n" };
	alarm(60);
	while (!defined $end || length($text) < $end) {
		$end = index($text, "\r\n\r\n") + 4 + (($text =~ /^Content-Length: ([0-9]+)/mi)[0] // 0) if $text =~ /\r\n\r\n/;
		next if defined $end && length($text) >= $end;
		sysread($s, $text, 65536, length($text)) or last;
	}
	alarm(0);
	($text, $behind{$s}) = (substr($text, 0, $end), substr($text, $end)) if defined $end && $end <= length($text);
	return $text;
}

# ---- large, by curl
my $large = make_file("$base/large.iso", LARGE);
my $pid = $tagger->{daemon}{pid};
my $before = memory_from($pid);
my $got = curl('-T', $large, url('in/large.iso'));
is(code($got), 200, 'curl -T of ' . (LARGE >> 20) . ' MiB') or diag($got->{out}, $got->{err});
my $grown = memory($pid) - $before;
ok(same($large, "$dir/in/large.iso"), 'all of it has come');
SKIP: {
	skip('a sanitizer takes memory its own way', 1) if $sanitized;
	cmp_ok($grown, '<', GROWTH_MAX, 'memory does not grow with it') or diag("$grown bytes more");
}
note("$grown bytes more");
is_deeply(left(), [], 'nothing is left beside it');
is(code(curl('-T', $large, url('in/large.iso'))), 409, 'it is not replaced');
my $small = make_file("$base/small.bin", 5000);
$tagger->wait_for('the file in the index', sub { $tagger->ask('POST', '/file/tags', { path => 'in/large.iso' }, { add => ['keeper'] }) });
is(code(curl('-T', $small, url('in/large.iso', 'replace=1'))), 200, 'unless it is to be');
ok(same($small, "$dir/in/large.iso"), 'then it is');
$tagger->wait_for('its tags', sub { "@{ $tagger->found('tag:keeper size:<1M') }" eq 'in/large.iso' });
pass('and keeps the tags by hand');
is(code(curl('-T', '/dev/null', url('in/empty'))), 200, 'an empty file');
is(-s "$dir/in/empty", 0, 'is empty');

# ---- of unknown length, and several by one connection
$got = run({ stdin => slurp($small) }, 'curl', '-sS', '--unix-socket', "$base/sock", '-T', '-', url('in/piped.bin'));
is(json_decode($got->{out})->{size}, 5000, 'from a pipe');
ok(same($small, "$dir/in/piped.bin"), 'in chunks');
$got = curl('-v', '-T', $small, url('in/one.bin'), '-T', $small, url('in/two.bin'), '-T', $small, url('in/two.bin'),
	'-T', $small, url('in/three.bin'));
is_deeply([ $got->{out} =~ /^([0-9]{3})/mg ], [ 200, 200, 409, 200 ], 'several, one of which is refused');
like($got->{err}, qr/Re-using existing connection/, 'by one connection');
ok(same($small, "$dir/in/three.bin"), 'and whole');
my $s = begin('/upload?path=in/pipelined.bin', 3);
put($s, 'abcGET /status HTTP/1.1' . "\r\nHost: x\r\n\r\n");
like(answer($s), qr{\AHTTP/1.1 200 }, 'a request behind a body');
like(answer($s), qr{\AHTTP/1.1 200 .*"files"}s, 'is answered, too');
$s = begin('/upload?path=in/bad.bin', undef, 'Transfer-Encoding: chunked');
put($s, "5\r\nhello\r\nnonsense\r\n");
like(answer($s), qr{\AHTTP/1.1 400 }, 'bad chunks are refused');
$s = begin('/upload?path=in/bad.bin', 5, 'Transfer-Encoding: chunked');
unlike(answer($s), qr{\AHTTP/1.1 2}, 'and a body with two ideas of its length');
wait_until('no trace of either', 60, sub { !@{ left() } });
ok(!-e "$dir/in/bad.bin", 'nothing came of that');

# ---- refused before it comes
$s = begin('/upload?path=none/x', 1 << 40, 'Expect: 100-continue');
like(answer($s), qr{\AHTTP/1.1 404 }, 'who waits to be told to send is refused at once');
$s = begin('/upload?path=in/room', 3, 'Expect: 100-continue');
like(answer($s), qr{\AHTTP/1.1 100 }, 'or told to');
put($s, 'abc');
like(answer($s), qr{\AHTTP/1.1 200 }, 'and heard');
$s = begin('/upload?path=none/x', 8 * MIB);
put($s, 'x' x (8 * MIB));
like(answer($s), qr{\AHTTP/1.1 404 }, 'who sends all the same is told, too');

# ---- it breaks off
my $size = 24 * MIB;
my $film = make_file("$base/film.mkv", $size);
my $bytes = slurp($film);
$s = begin('/upload?path=in/film.mkv', $size);
put($s, substr($bytes, 0, 9_876_543));
close($s);
$tagger->wait_for('what has come', sub { has('in/film.mkv', $size) == 9_876_543 });
pass('all that has come is kept');
ok(!-e "$dir/in/film.mkv", 'under its name there is nothing');
$tagger->stop('KILL');
$tagger->start();
$tagger->wait_idle();
my $at = has('in/film.mkv', $size);
is($at, 9_876_543, 'it says how much, also when it was killed');
is(code(curl('-T', $film, url('in/film.mkv', "size=$size", 'offset=5'))), 409, 'another place is refused');
is(code(curl('-C', $at, '-T', $film, url('in/film.mkv'))), 200, 'curl -C goes on there');
ok(same($film, "$dir/in/film.mkv"), 'and it is whole');
is_deeply(left(), [], 'nothing is left beside it');
$s = begin('/upload?path=in/slow.mkv', $size);
put($s, substr($bytes, 0, 3 * MIB));
$tagger->wait_for('the first of it', sub { has('in/slow.mkv', $size) >= 2 * MIB });
is(code(curl('-T', $film, url('in/slow.mkv'))), 200, 'the same again takes over from one that hangs');
like(answer($s), qr{\AHTTP/1.1 409 .*superseded}s, 'which is told');
ok(same($film, "$dir/in/slow.mkv"), 'from its beginning');
$s = begin('/upload?path=in/off.mkv', $size);
put($s, substr($bytes, 0, 3 * MIB));
$tagger->wait_for('the first of it', sub { has('in/off.mkv', $size) >= 2 * MIB });
$tagger->ask('DELETE', '/upload', { path => 'in/off.mkv', size => $size });
wait_until('nothing', 60, sub { !@{ left() } });
pass('what has come can be thrown away');
make_path("$dir/.weft/upload");
spew("$dir/.weft/upload/$_", 'x') for 'old', 'new', 'unsized-1';
utime(time - 8 * 86400, time - 8 * 86400, "$dir/.weft/upload/old");
$tagger->stop();
$tagger->start();
wait_until('the old to go', 60, sub { "@{ left() }" eq 'new' });
pass('what nobody goes on with is thrown away after a week');
unlink("$dir/.weft/upload/new");

SKIP: {
	my $hang = build_dir() . '/t/tools/hang';
	skip('this needs root', 5) if $> != 0;
	skip('t/tools/hang is not built', 5) if !-x $hang;
	# ---- a volume that does not take it: changes are made one after the other, and one of them hangs
	my $hang_pid = open(my $said, '-|', $hang, "$dir/in/one.bin") or die "$hang: $!\n";
	at_end(sub { kill('KILL', $hang_pid) if $hang_pid });
	if ((<$said> // '') ne "hangs\n") {
		undef $hang_pid;
		skip('this kernel cannot make a file hang', 5);
	}
	$s = begin('/upload?path=in/late.bin', 512 * MIB);
	put($s, 'z' x MIB);
	$tagger->wait_for('the first of it', sub { has('in/late.bin', 512 * MIB) == MIB });
	$pid = $tagger->{daemon}{pid};
	$before = memory_from($pid);
	my $tags = fork() // die "fork: $!\n";
	if (!$tags) {
		open(STDOUT, '>', '/dev/null');
		exec('curl', '-s', '-m', 120, '--unix-socket', "$base/sock", '-X', 'POST', '--data', '{"add":["x"]}',
			'http://tagger/file/tags?path=in/one.bin');
	}
	$tagger->wait_for('a change that hangs', sub { $tagger->get('/status')->{aside}{running} == 1 });
	my $sent = put_what_goes($s, 512 * MIB);
	cmp_ok($sent, '<', 8 * MIB, 'a volume that hangs makes the client wait');
	note("$sent bytes were taken");
	kill('KILL', $hang_pid);
	undef $hang_pid;
	close($said);
	waitpid($tags, 0);
	put($s, 'z' x (64 * MIB));
	cmp_ok(has('in/late.bin', 512 * MIB), '>', 32 * MIB, 'and it goes on with it');
	SKIP: {
		skip('a sanitizer takes memory its own way', 1) if $sanitized;
		cmp_ok(memory($pid) - $before, '<', GROWTH_MAX, 'without more memory');
	}
	close($s);
	$tagger->ask('DELETE', '/upload', { path => 'in/late.bin', size => 512 * MIB });
}

# ---- through volmgr
SKIP: {
	skip('volmgr is not built', 11) if !program('volmgr') || !program('volctl');
	run_ok(program('volctl'), 'cluster', 'init', '--secret', "$base/secret");
	my @argv = (program('volmgr'), '--dir', "$base/meta", '--secret', "$base/secret", '--listen', "unix:$base/nbd", '--socket',
		"$base/volmgr.sock", '--http', 'tcp:127.0.0.1:0', '--tagger', "$base/sock");
	my $volmgr = daemon_start(name => 'volmgr', log => "$base/volmgr.log", argv => [@argv]);
	my $web = 'http://' . ($volmgr->{http} =~ s/\Atcp://r);
	my ($invitation) = run_ok(program('volctl'), '--socket', "$base/volmgr.sock", 'user', 'invite', '--role', 'admin') =~ m{/([\w-]+)\n};
	my $alice = Weft::HTTP->new($web);
	is(($alice->login({ name => 'alice', password => 'long enough', invitation => $invitation }, '/join'))[0], 201, 'alice joins');
	my (undef, $token) = $alice->api('POST', '/tokens', { label => 'uploads', role => 'user' });
	my @auth = ('-H', "Authorization: Bearer $token->{secret}");
	my $via = sub { my ($path, @more) = @_; return "$web/api/v1/tagger/upload?path=$path" . join('', map { "&$_" } @more) };
	my $web_curl = sub { return run('curl', '-sS', '-w', '\n%{http_code}', @auth, @_) };
	my @before = map { memory_from($_) } $volmgr->{pid}, $tagger->{daemon}{pid};
	$got = $web_curl->('-T', $large, $via->('in/via.iso'));
	is(code($got), 200, 'curl -T through volmgr') or diag($got->{out}, $got->{err});
	ok(same($large, "$dir/in/via.iso"), 'all of it has come');
	SKIP: {
		skip('a sanitizer takes memory its own way', 2) if $sanitized;
		cmp_ok(memory($volmgr->{pid}) - $before[0], '<', GROWTH_MAX, "volmgr's memory does not grow with it");
		cmp_ok(memory($tagger->{daemon}{pid}) - $before[1], '<', GROWTH_MAX, "nor tagger's");
	}
	$got = run({ stdin => slurp($small) }, 'curl', '-sS', @auth, '-T', '-', $via->('in/via-pipe.bin'));
	is(json_decode($got->{out})->{size}, 5000, 'from a pipe');
	is(code($web_curl->('-T', $large, $via->('in/via.iso'))), 409, 'a refusal comes through');
	is(code(run('curl', '-sS', '-w', '\n%{http_code}', '-T', $large, $via->('in/stranger.iso'))), 401, 'a stranger is refused');
	my ($host, $port) = $volmgr->{http} =~ /([0-9.]+):([0-9]+)\z/;
	$s = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die "$host:$port: $!\n";
	put($s, "PUT /api/v1/tagger/upload?path=in/via.mkv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer $token->{secret}\r\n"
		. "Content-Length: $size\r\n\r\n" . substr($bytes, 0, 7_654_321));
	close($s);
	$tagger->wait_for('what has come', sub { has('in/via.mkv', $size) == 7_654_321 });
	pass('what broke off on the way is kept');
	is(code($web_curl->('-C', 7_654_321, '-T', $film, $via->('in/via.mkv'))), 200, 'and gone on with');
	ok(same($film, "$dir/in/via.mkv"), 'to its end');
	daemon_stop($volmgr);
	SKIP: {
		skip('openssl is not here', 3) if !tool('openssl');
		run_ok(tool('openssl'), qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=x -keyout),
			"$base/key.pem", '-out', "$base/cert.pem");
		$volmgr = daemon_start(name => 'volmgr', log => "$base/volmgr.log", argv => [ @argv, '--tls-cert', "$base/cert.pem",
			'--tls-key', "$base/key.pem" ]);
		$web = 'https://' . ($volmgr->{http} =~ s/\Atcp://r);
		my $before = memory_from($volmgr->{pid});
		$got = $web_curl->('-k', '-T', $large, $via->('in/tls.iso'));
		is(code($got), 200, 'by HTTPS') or diag($got->{out}, $got->{err});
		ok(same($large, "$dir/in/tls.iso"), 'all of it has come, too');
		SKIP: {
			skip('a sanitizer takes memory its own way', 1) if $sanitized;
			cmp_ok(memory($volmgr->{pid}) - $before, '<', GROWTH_MAX, 'and memory does not grow');
		}
		daemon_stop($volmgr);
	}
}
$tagger->stop();

# ---- a full disk
SKIP: {
	skip('this needs root', 8) if $> != 0;
	make_path("$base/small", "$base/beside");
	run_ok('mount', '-t', 'tmpfs', '-o', 'size=16M', 'weft-test', "$base/small");
	$dir = "$base/small";
	$tagger = Weft::Tagger->new(dir => $dir, base => $base, args => ['--no-prefetch', '--index', "$base/beside/index"]);
	$tagger->wait_idle();
	$got = curl('-T', $large, url('large.iso'));
	is(code($got), 507, 'what does not fit is refused');
	like($got->{out}, qr/"full".*no space is left on the disk.*empty the bin/, 'with the reason');
	is_deeply(left(), [], 'and leaves nothing');
	$got = run('curl', '-sS', '--unix-socket', "$base/sock", '-w', '\n%{http_code}', '-H', 'Transfer-Encoding: chunked', '-T', $large, url('large.iso'));
	is(code($got), 507, 'also when its size was not known');
	wait_until('nothing to be left', 60, sub { !@{ left() } });
	pass('and leaves nothing');
	wait_until('the space to be free again', 60, sub { run_ok("df", "--output=used", "-k", $dir) =~ /^\s*[0-9]{1,3}$/m });
	is(code(curl('-T', $small, url('small.bin'))), 200, 'what fits is taken');
	$tagger->stop();
	run_ok('umount', $dir);
}
done_testing();
