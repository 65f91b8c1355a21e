# Stock NBD clients, one function each, against any server: what it serves must be what they wrote. The
# export is overwritten. Each is a few TAP results.
package Weft::Clients;

use strict;
use warnings;

use Exporter qw(import);
use Test::More;
use Weft;

our @EXPORT = qw(random_file clients_all client_nbdinfo client_nbdcopy client_nbdfuse client_qemu_img
    client_qemu_io client_fio client_nbdkit same_bytes);

my $MIB = 1 << 20;

sub random_file
{
	my ($path, $mib) = @_;
	run_ok('dd', 'if=/dev/urandom', "of=$path", 'bs=1M', "count=$mib", 'status=none');
	return $path;
}

# Are the first bytes of two files the same?
sub same_bytes
{
	my ($one, $other, $bytes) = @_;
	return run('cmp', '-n', $bytes, $one, $other)->{status} == 0;
}

sub worked
{
	my ($name, @argv) = @_;
	my $got = run({ timeout => 120 }, @argv);
	ok($got->{status} == 0, $name) or diag("'@argv' gave $got->{status}: $got->{err}$got->{out}");
	return $got;
}

sub client_nbdinfo
{
	my ($uri, $size) = @_;
	my $got = worked('nbdinfo reads the export', tool('nbdinfo'), '--json', $uri);
	my $export = eval { json_decode($got->{out})->{exports}[0] } // {};
	is($export->{'export-size'}, $size, 'its size is exact');
	for my $can (qw(can_flush can_fua can_trim can_zero can_multi_conn can_df can_fast_zero can_cache)) {
		ok($export->{$can}, "it says $can");
	}
	ok(!$export->{is_read_only}, 'and that it may be written');
	ok((grep { $_ eq 'base:allocation' } @{ $export->{contexts} // [] }), 'and base:allocation');
	my ($host, $socket) = $uri =~ m{\A([a-z+]+://[^/]*)[^?]*(\?.*)?\z};
	my $root = "$host/" . ($socket // "");
	worked('nbdinfo lists exports', tool('nbdinfo'), '--list', $root);
	worked('nbdinfo maps', tool('nbdinfo'), '--map', $uri);
	return;
}

# Bytes that are data in nbdinfo's map.
sub data_bytes
{
	my ($uri) = @_;
	my $sum = 0;
	for my $line (split(/\n/, run_ok(tool('nbdinfo'), '--map', $uri))) {
		my ($offset, $len, $type) = $line =~ /\A\s*([0-9]+)\s+([0-9]+)\s+([0-9]+)/ or next;
		$sum += $len if !($type & 1);
	}
	return $sum;
}

sub client_nbdcopy
{
	my ($uri, $dir) = @_;
	my $bytes = 64 * $MIB;
	random_file("$dir/in", 64);
	worked('nbdcopy writes', tool('nbdcopy'), '--flush', "$dir/in", $uri);
	cmp_ok(data_bytes($uri), '>=', $bytes, 'the map says that there is data');
	worked('nbdcopy reads', tool('nbdcopy'), $uri, "$dir/out");
	ok(same_bytes("$dir/in", "$dir/out", $bytes), 'the same bytes');
	worked('nbdcopy reads on four connections', tool('nbdcopy'), '-C', '4', '-T', '4',
		'--request-size=1048576', $uri, "$dir/out4");
	ok(same_bytes("$dir/out", "$dir/out4", $bytes), 'the same bytes');
	my $small = worked('nbdcopy in requests of 4 KiB', tool('nbdcopy'), '--request-size=4096',
		'--requests=64', "$dir/out", $uri);
	unlink("$dir/out4", "$dir/out");
	return;
}

sub client_nbdfuse
{
	my ($uri, $dir) = @_;
	SKIP: {
		skip('needs root and /dev/fuse', 2) if $> != 0 || !-w '/dev/fuse';
		mkdir("$dir/fuse");
		my $daemon = daemon_start(name => 'nbdfuse', log => "$dir/nbdfuse.log", no_ready => 1,
			argv => [ tool('nbdfuse'), "$dir/fuse/disk", $uri ]);
		my $bytes = 16 * $MIB;
		my $mounted = eval { wait_until('nbdfuse', 60, sub { -s "$dir/fuse/disk" }) };
		ok($mounted, 'nbdfuse mounts it as a file') or diag(slurp("$dir/nbdfuse.log"));
		ok(same_bytes("$dir/in", "$dir/fuse/disk", $bytes), 'which has the bytes that were written');
		run('umount', "$dir/fuse");
		pid_wait($daemon->{pid}, 10) or daemon_stop($daemon, 'KILL');
	}
	return;
}

sub client_qemu_img
{
	my ($uri, $dir, $size) = @_;
	my $img = tool('qemu-img');
	random_file("$dir/image", 24);
	truncate("$dir/image", 200 * $MIB);
	run_ok('dd', 'if=/dev/urandom', "of=$dir/image", 'bs=1M', 'seek=150', 'count=8', 'conv=notrunc',
		'status=none');
	truncate("$dir/image", $size);
	worked('qemu-img convert writes', $img, 'convert', '-n', '-f', 'raw', '-O', 'raw', "$dir/image",
		$uri);
	worked('qemu-img compare agrees', $img, 'compare', '-f', 'raw', '-F', 'raw', "$dir/image", $uri);
	worked('qemu-img convert reads', $img, 'convert', '-f', 'raw', '-O', 'qcow2', $uri,
		"$dir/image.qcow2");
	worked('and the copy is the same', $img, 'compare', '-f', 'raw', '-F', 'qcow2', "$dir/image",
		"$dir/image.qcow2");
	my $got = worked('qemu-img map', $img, 'map', '-f', 'raw', '--output=json', $uri);
	my $map = eval { json_decode($got->{out}) } // [];
	my $end = @$map ? $map->[-1]{start} + $map->[-1]{length} : 0;
	is($end, $size, 'covers all of it');
	cmp_ok(scalar(grep { $_->{zero} } @$map), '>', 0, 'and knows its holes');
	unlink("$dir/image", "$dir/image.qcow2");
	return;
}

sub client_qemu_io
{
	my ($uri, $size) = @_;
	my @steps = (
		[ 'whole blocks',           'write -P 0xa1 0 1M',          'read -P 0xa1 0 1M' ],
		[ 'one byte',               'write -P 0x5a 1 1',           'read -P 0x5a 1 1', 'read -P 0xa1 2 4094' ],
		[ 'bytes over a border',    'write -P 0x33 4095 2',        'read -P 0x33 4095 2', 'read -P 0xa1 4097 511' ],
		[ 'an odd middle',          'write -P 0x44 70001 130003',  'read -P 0x44 70001 130003',
			'read -P 0xa1 69000 1001', 'read -P 0xa1 200004 1000' ],
		[ 'the last byte',          'write -P 0x77 ' . ($size - 1) . ' 1', 'read -P 0x77 ' . ($size - 1) . ' 1' ],
		[ 'zeroes',                 'write -z 65536 65536',        'read -P 0 65536 65536' ],
		[ 'zeroes at odd places',   'write -z 300001 777',         'read -P 0 300001 777', 'read -P 0xa1 300778 100' ],
		[ 'zeroes with unmap',      'write -z -u 524288 262144',   'read -P 0 524288 262144' ],
		[ 'a discard',              'discard 786432 131072',       'read 786432 131072' ],
		[ 'FUA',                    'write -f -P 0x66 400000 5000', 'read -P 0x66 400000 5000' ],
		[ 'a flush',                'flush',                       'read -P 0x66 400000 5000' ],
		[ '16 MiB in one request',  'write -P 0x99 3M 16M',        'read -P 0x99 3M 16M' ],
	);
	for my $step (@steps) {
		my ($name, @commands) = @$step;
		my $got = run({ timeout => 60 }, tool('qemu-io'), '-f', 'raw', '-t', 'none',
			(map { ('-c', $_) } @commands), $uri);
		ok($got->{status} == 0 && "$got->{out}$got->{err}" !~ /failed|fault|rror/, "qemu-io: $name")
		    or diag("$got->{err}$got->{out}");
	}
	return;
}

sub client_fio
{
	my ($uri) = @_;
	my @common = (tool('fio'), '--ioengine=nbd', "--uri=$uri", '--name=verify', '--size=64m',
		'--verify=crc32c', '--verify_fatal=1', '--verify_dump=0', '--verify_state_save=0',
		'--randrepeat=0');
	my @jobs = (
		[ 'randrw 4k',          '--rw=randrw',    '--bs=4k',           '--iodepth=32' ],
		[ 'randwrite 512..64k', '--rw=randwrite', '--bsrange=512-64k', '--blockalign=512', '--iodepth=16' ],
		[ 'randrw 4k..256k',    '--rw=randrw',    '--bsrange=4k-256k', '--iodepth=8' ],
		[ 'write 1m',           '--rw=write',     '--bs=1m',           '--iodepth=4' ],
		[ 'randwrite 4k, flushed', '--rw=randwrite', '--bs=4k', '--iodepth=16', '--fsync=16', '--size=16m' ],
	);
	for my $job (@jobs) {
		my ($name, @args) = @$job;
		worked("fio writes and verifies: $name", @common, @args);
	}
	return;
}

# nbdkit's nbd plugin is a client of ours with filters on it.
sub client_nbdkit
{
	my ($uri, $dir, $size) = @_;
	my @chains = (
		[ 'cow', '--filter=cow' ],
		[ 'blocksize', '--filter=blocksize', 'minblock=64k', 'maxdata=1M' ],
		[ 'cache and readahead', '--filter=cache', '--filter=readahead' ],
	);
	random_file("$dir/in", 32);
	for my $chain (@chains) {
		my ($name, @args) = @$chain;
		my @filters = grep { /^--/ } @args;
		my @params = grep { !/^--/ } @args;
		worked("nbdcopy writes what nbdkit is to read", tool("nbdcopy"), "--flush", "$dir/in", $uri);
		my $daemon = daemon_start(name => 'nbdkit', log => "$dir/nbdkit.log", no_ready => 1, argv => [
			tool('nbdkit'), '-f', '-U', "$dir/nbdkit.sock", @filters, 'nbd', "uri=$uri", @params ]);
		my $front = "nbd+unix:///?socket=$dir/nbdkit.sock";
		my $up = eval { wait_until('nbdkit', 60,
			sub { run(tool('nbdinfo'), '--size', $front)->{status} == 0 }) };
		ok($up, "nbdkit's nbd plugin connects, filters: $name") or diag(slurp("$dir/nbdkit.log"));
		worked('nbdcopy reads through it', tool('nbdcopy'), $front, "$dir/out");
		ok(same_bytes("$dir/in", "$dir/out", 32 * $MIB), 'the same bytes');
		worked('qemu-io writes through it', tool('qemu-io'), '-f', 'raw', '-c',
			'write -P 0x21 40960 70000', '-c', 'flush', '-c', 'read -P 0x21 40960 70000', $front);
		daemon_stop($daemon);
		unlink("$dir/nbdkit.sock", "$dir/out");
		next if $name ne 'cow';
		worked('and a copy-on-write layer kept that for itself', tool('nbdcopy'), $uri, "$dir/out");
		ok(same_bytes("$dir/in", "$dir/out", 32 * $MIB), 'the same bytes');
		unlink("$dir/out");
	}
	unlink("$dir/in");
	return;
}

sub clients_all
{
	my ($uri, $dir, $size) = @_;
	client_nbdinfo($uri, $size);
	client_nbdcopy($uri, $dir);
	client_nbdfuse($uri, $dir);
	client_qemu_img($uri, $dir, $size);
	client_qemu_io($uri, $size);
	client_fio($uri);
	client_nbdkit($uri, $dir, $size);
	return;
}

1;
