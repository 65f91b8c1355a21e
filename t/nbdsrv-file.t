#!/usr/bin/perl
# nbdsrv --file with stock clients: what they ask for works, over Unix sockets and TCP; what is wrong is
# refused; clients that misbehave harm nobody but themselves.

use strict;
use warnings;

use File::Basename qw(dirname);
use lib dirname(__FILE__) . '/lib';
use Fcntl qw(F_GETFD F_SETFD FD_CLOEXEC);
use IO::Socket::INET ();
use IO::Socket::UNIX ();
use Socket qw(SOCK_STREAM);
use Test::More;
use Weft;

need(qw(nbdsrv nbdinfo nbdcopy qemu-img qemu-io fio));

my $dir = temp_dir();
my $nbdsrv = program('nbdsrv');
my $count = 0;

sub make_file
{
	my ($name, $size) = @_;
	open(my $fh, '>', "$dir/$name") or die "$dir/$name: $!\n";
	truncate($fh, $size) or die "truncate: $!\n";
	close($fh);
	return "$dir/$name";
}

# Starts nbdsrv on a Unix socket and TCP; adds unix and tcp, URIs of its export.
sub start
{
	my (@args) = @_;
	my $n = ++$count;
	my $d = daemon_start(name => 'nbdsrv', log => "$dir/log.$n",
		argv => [$nbdsrv, '--listen', "unix:$dir/s$n", '--listen', 'tcp:127.0.0.1:0', @args]);
	my ($port) = map { /:([0-9]+)\z/ ? $1 : () } grep { /\Atcp:/ } @{ $d->{listen} };
	$d->{port} = $port;
	$d->{path} = "$dir/s$n";
	$d->{unix} = "nbd+unix:///x?socket=$dir/s$n";
	$d->{tcp} = "nbd://127.0.0.1:$port/x";
	return $d;
}

sub qemu_io
{
	my ($uri, @commands) = @_;
	return run('qemu-io', '-f', 'raw', map({ ('-c', $_) } @commands), $uri);
}

sub qemu_io_ok
{
	my ($name, $uri, @commands) = @_;
	my $got = qemu_io($uri, @commands);
	ok($got->{status} == 0 && $got->{out} !~ /fail|error/i, $name)
	    or diag("$got->{out}$got->{err}");
	return;
}

my $image = make_file('disk', 64 << 20);
my $srv = start('--file', $image, '--export', 'x');

# ---- what clients are told --------------------------------------------------

for my $kind (qw(unix tcp)) {
	my $info = json_decode(run_ok('nbdinfo', '--json', $srv->{$kind}))->{exports}[0];
	is($info->{'export-size'}, 64 << 20, "$kind: size");
	ok($info->{can_multi_conn} && $info->{can_flush} && $info->{can_fua} && $info->{can_trim}
	    && $info->{can_zero} && $info->{can_fast_zero} && $info->{can_cache}
	    && $info->{can_df}, "$kind: everything is offered");
	is($info->{block_size_minimum}, 1, "$kind: every byte can be addressed");
	is_deeply($info->{contexts}, ['base:allocation'], "$kind: base:allocation");
}
my $list = json_decode(run_ok('nbdinfo', '--list', '--json', $srv->{unix}));
is_deeply([map { $_->{'export-name'} } @{ $list->{exports} }], ['x'], 'the export is listed');
is(run('nbdinfo', "nbd+unix:///?socket=$srv->{path}")->{status}, 0,
	'the empty name means the export');
my $wrong = run('nbdinfo', "nbd+unix:///wrong?socket=$srv->{path}");
isnt($wrong->{status}, 0, 'an unknown name is refused');

# ---- data -------------------------------------------------------------------

for my $kind (qw(unix tcp)) {
	my $uri = $srv->{$kind};
	qemu_io_ok("$kind: bytes at odd places", $uri, 'write -P 17 1 4097', 'read -P 17 1 4097',
		'read -P 0 0 1', 'read -P 0 4098 100', 'write -P 18 511 2', 'read -P 18 511 2',
		'read -P 17 513 3585');
	qemu_io_ok("$kind: large payloads", $uri, 'write -P 33 1048577 33554431',
		'read -P 33 1048577 33554431', 'read -P 0 34603008 1M');
	qemu_io_ok("$kind: FUA, flush, zeros with and without a hole", $uri, 'write -f -P 3 1M 2M',
		'flush', 'write -z 1536k 4097', 'read -P 0 1536k 4097', 'read -P 3 1577061 4096',
		'write -z -u 1M 64k', 'read -P 0 1M 64k', 'write -z -f 2M 1M', 'read -P 0 2M 1M');
	qemu_io_ok("$kind: many at once", $uri,
		(map { "aio_write -P $_ ${_}M 1M" } 1 .. 40), 'aio_flush',
		(map { "read -P $_ ${_}M 1M" } 1 .. 40));
	qemu_io_ok("$kind: trimmed ranges read as zeros", $uri, 'discard 0 64M', 'read -P 0 0 64M');
}
my $used = (stat($image))[12] * 512;
ok($used < 1 << 20, 'and gave their space back') or diag("$used bytes");

qemu_io_ok('a map to look at', $srv->{unix}, 'write -P 1 1M 64k', 'write -P 1 8M 4k');
my $map = json_decode(run_ok('nbdinfo', '--map', '--json', $srv->{unix}));
is_deeply([map { [@$_{qw(offset length type)}] } @$map],
	[[0, 1 << 20, 3], [1 << 20, 64 << 10, 0], [(1 << 20) + (64 << 10), (7 << 20) - (64 << 10), 3],
		[8 << 20, 4096, 0], [(8 << 20) + 4096, (56 << 20) - 4096, 3]],
	'the map tells data and holes');

my $ref = "$dir/ref";
run_ok('qemu-img', 'create', '-q', '-f', 'raw', $ref, '64M');
qemu_io_ok('a reference', $ref, 'write -P 5 3M 7M', 'write -P 6 20M 1M', 'write -P 7 63M 1M');
for my $kind (qw(unix tcp)) {
	run_ok('nbdcopy', $ref, $srv->{$kind});
	run_ok('nbdcopy', $srv->{$kind}, "$dir/back.$kind");
	is(run('cmp', $ref, "$dir/back.$kind")->{status}, 0, "$kind: nbdcopy there and back");
	unlink("$dir/back.$kind");
}
run_ok('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', '-n', $ref, $srv->{tcp});
is(run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', $ref, $srv->{unix})->{status}, 0,
	'qemu-img convert and compare');
my $qmap = json_decode(run_ok('qemu-img', 'map', '-f', 'raw', '--output=json', $srv->{unix}));
is((grep { $_->{start} == 3 << 20 } @$qmap)[0]{length}, 7 << 20, 'qemu-img map');

for my $bs ('4k', '3k', '128k') {
	my $fio = run({ dir => $dir }, 'fio', '--name=v', '--ioengine=nbd', "--uri=$srv->{tcp}",
		'--rw=randrw', "--bs=$bs", '--iodepth=32', '--size=16M', '--verify=crc32c',
		'--verify_fatal=1', '--randseed=4711');
	is($fio->{status}, 0, "fio verifies what it wrote, $bs at depth 32") or diag($fio->{err});
}

# ---- the wrong --------------------------------------------------------------

# A plain client for what stock ones will not do.
sub dial
{
	my ($d) = @_;
	my $s = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $d->{path})
	    or die "$d->{path}: $!\n";
	return $s;
}

sub take
{
	my ($s, $n) = @_;
	my $got = '';
	while (length($got) < $n) {
		my $bits = '';
		vec($bits, fileno($s), 1) = 1;
		select($bits, undef, undef, 60) > 0 or die "no answer in 60 s\n";
		my $r = sysread($s, $got, $n - length($got), length($got));
		return undef if !$r;
	}
	return $got;
}

sub dial_export
{
	my ($d) = @_;
	my $s = dial($d);
	take($s, 18);
	syswrite($s, pack('N', 3) . 'IHAVEOPT' . pack('NN', 1, 1) . 'x');
	take($s, 10) // die "no export\n";
	return $s;
}

sub request
{
	my ($s, $type, $offset, $len, $flags, $payload) = @_;
	my $msg = pack('NnnQ>Q>N', 0x25609513, $flags // 0, $type, 99, $offset, $len) . ($payload // '');
	syswrite($s, $msg) == length($msg) or die "write: $!\n";
	return;
}

sub reply_error
{
	my ($s) = @_;
	my $reply = take($s, 16) // return undef;
	my ($magic, $error, $cookie) = unpack('NNQ>', $reply);
	die "not a reply\n" if $magic != 0x67446698 || $cookie != 99;
	return $error;
}

{
	my $s = dial_export($srv);
	request($s, 0, (64 << 20) - 1, 2);
	is(reply_error($s), 22, 'a read past the end is EINVAL');
	request($s, 1, (64 << 20) - 1, 2, 0, 'ab');
	is(reply_error($s), 28, 'a write past the end is ENOSPC, its payload is skipped');
	request($s, 4, 1 << 40, 4096);
	is(reply_error($s), 22, 'a trim past the end is EINVAL');
	request($s, 6, (64 << 20) - 1, 4096);
	is(reply_error($s), 28, 'zeros past the end are ENOSPC');
	request($s, 77, 0, 0);
	is(reply_error($s), 22, 'an unknown command is EINVAL');
	request($s, 0, 0, 1, 0x8000);
	is(reply_error($s), 22, 'an unknown flag is EINVAL');
	request($s, 0, 20 << 20, 3);
	is(reply_error($s), 0, 'the stream goes on after all that');
	is(take($s, 3), "\6\6\6", 'with the right bytes');
	request($s, 1, 5, 0);
	ok(defined reply_error($s), 'a write of nothing gets an answer');
}

{
	my $ro = start('--file', $ref, '--export', 'x', '--read-only');
	my $info = json_decode(run_ok('nbdinfo', '--json', $ro->{unix}))->{exports}[0];
	ok($info->{is_read_only}, '--read-only is told');
	my $s = dial_export($ro);
	request($s, 1, 0, 2, 0, 'ab');
	is(reply_error($s), 1, 'a write is EPERM');
	request($s, 4, 0, 4096);
	is(reply_error($s), 22, 'a trim, which is not offered, is EINVAL');
	request($s, 0, 0, 1);
	is(reply_error($s), 0, 'and reads go on');
	daemon_stop($ro);
	ok(!-e $ro->{path}, 'the socket is gone after an orderly stop');
}

{
	my @guests = map { dial($srv) } 1 .. 4;
	syswrite($guests[0], "GET / HTTP/1.1\r\n\r\n" x 100);
	syswrite($guests[1], pack('N', 3) . 'IHAVE');
	syswrite($guests[2], pack('N', 3) . 'IHAVEOPT' . pack('NN', 7, 0xffffffff));
	my $deaf = dial_export($srv);
	request($deaf, 0, 0, 1 << 20) for 1 .. 100;
	my $garbage = dial_export($srv);
	syswrite($garbage, join('', map { chr(($_ * 7919) % 251) } 1 .. 5000));
	qemu_io_ok('others go on beside half handshakes, garbage and a client that never reads',
		$srv->{tcp}, 'write -P 9 0 1M', 'read -P 9 0 1M');
	is(take($garbage, 1), undef, 'garbage ends its own connection');
	close($_) for @guests;
}
ok(pid_alive($srv->{pid}), 'nbdsrv lives');

# ---- starting and stopping --------------------------------------------------

my $second = run($nbdsrv, '--file', $image, '--listen', "unix:$dir/other");
is($second->{status}, 1, 'a file in use is refused');
like($second->{err}, qr/in use/, 'and said to be');
my $missing = run($nbdsrv, '--file', "$dir/none", '--listen', "unix:$dir/other");
is($missing->{status}, 1, 'a missing file is refused');
like($missing->{err}, qr/none: No such file/, 'and named');
my $open = run($nbdsrv, '--file', $ref, '--listen', 'tcp:0.0.0.0:0');
is($open->{status}, 1, 'no listening for other machines without a secret');
like($open->{err}, qr/--secret/, 'and what to do is said');
my $taken = run($nbdsrv, '--file', $ref, '--listen', "unix:$srv->{path}");
is($taken->{status}, 1, 'an address in use is refused');
is(run($nbdsrv)->{status}, 2, 'no options are a usage error');
is(run($nbdsrv, '--file', $ref, 'word')->{status}, 2, 'a stray word, too');

{
	my $conf = "$dir/weft.conf";
	spew($conf, "# test\n[nbdsrv]\nfile = $ref\nexport = x\nread-only = yes\n");
	my $d = start('--config', $conf);
	like(run_ok('nbdinfo', $d->{unix}), qr/is_read_only: true/, 'options come from the config file');
	daemon_stop($d);
}

# An orderly stop while one client works and another takes no answers.
{
	my $d = start('--file', $ref, '--export', 'x');
	my $deaf = dial_export($d);
	request($deaf, 0, 0, 1 << 20) for 1 .. 60;
	my $busy = dial_export($d);
	request($busy, 1, 0, 1 << 20, 1, "z" x (1 << 20));
	kill('TERM', $d->{pid});
	wait_until('the end of nbdsrv', 60, sub { waitpid($d->{pid}, 1) == $d->{pid} });
	is($?, 0, 'it stops in order beside a client that never reads');
}

# The service manager's way: a listening socket as descriptor 3.
{
	my $listener = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1', Proto => 'tcp')
	    or die "listen: $!\n";
	my $port = $listener->sockport;
	my $pid = fork() // die "fork: $!\n";
	if (!$pid) {
		my $low = fileno($listener);
		POSIX::dup2($low, 3) if $low != 3;
		open(my $three, '<&=', 3) or POSIX::_exit(126);
		fcntl($three, F_SETFD, 0);
		@ENV{qw(LISTEN_PID LISTEN_FDS)} = ($$, 1);
		open(STDERR, '>', "$dir/log.activated");
		exec($nbdsrv, '--file', $ref, '--export', 'x', '--read-only') or POSIX::_exit(127);
	}
	at_end(sub { kill('KILL', $pid) if pid_alive($pid) });
	close($listener);
	is(run('nbdinfo', '--size', "nbd://127.0.0.1:$port/x")->{out}, (64 << 20) . "\n",
		'socket activation: it serves the socket it was given');
	kill('TERM', $pid);
	ok(pid_wait($pid, 60), 'and stops');
}

daemon_stop($srv);
like(slurp($srv->{log}), qr/stopping/, 'an orderly stop is logged');
unlike(slurp($srv->{log}), qr/AddressSanitizer|runtime error/, 'nothing was found by a sanitizer');
done_testing();
