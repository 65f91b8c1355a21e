#!/usr/bin/perl
# volmgr and the servers stop and start in any order, and everything is still there: what was written
# before, compared by its checksum, and new writes are taken each time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA;
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl nbdcopy qemu-io));
my $dir = temp_dir();
my $size = 96 << 20;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => $size, volume => 'one');
at_end(sub { $cluster->kill });
$cluster->up;
$cluster->create_volume('two', ec => '2+1', size => '32M', unit => '16K');

# A file of random bytes with holes, so that there are shards and none, whole stripes and parts.
sub make_image
{
	my ($path, $bytes) = @_;
	open(my $fh, '+>:raw', $path) or die "$path: $!";
	open(my $random, '<:raw', '/dev/urandom') or die $!;
	for my $at (0, 5 << 20, 17 << 20, $bytes - 1_234_567) {
		read($random, my $data, 1_234_567) == 1_234_567 or die 'random';
		seek($fh, $at, 0);
		print $fh $data;
	}
	truncate($fh, $bytes);
	close($fh) or die $!;
	return $path;
}

sub same
{
	my ($volume, $path) = @_;
	my $got = run({ timeout => 120 }, tool('nbdcopy'), $cluster->uri($volume), "$dir/out");
	diag("nbdcopy: $got->{err}") if $got->{status};
	my $same = $got->{status} == 0
	    && Digest::SHA->new(256)->addfile($path, 'b')->hexdigest eq
	       Digest::SHA->new(256)->addfile("$dir/out", 'b')->hexdigest;
	unlink("$dir/out");
	return $same;
}

# Writes the same bytes to a volume and to the file that mirrors it.
my $pattern = 1;
sub write_both
{
	my ($volume, $path, $at, $len) = @_;
	$pattern = $pattern % 255 + 1;
	run_ok(tool('qemu-io'), '-f', 'raw', '-c', "write -P $pattern $at $len", '-c', 'flush',
		$cluster->uri($volume));
	open(my $fh, '+<:raw', $path) or die "$path: $!";
	seek($fh, $at, 0);
	print $fh chr($pattern) x $len;
	close($fh) or die $!;
	return;
}

my %image = (one => make_image("$dir/one", $size), two => make_image("$dir/two", 32 << 20));
for my $volume (sort keys %image) {
	run_ok(tool('nbdcopy'), '--flush', $image{$volume}, $cluster->uri($volume));
	ok(same($volume, $image{$volume}), "volume $volume is what was written");
}
my $uri = $cluster->uri;

my @servers = $cluster->server_names;
my @rounds = (
	[ 'volmgr alone', sub { $cluster->stop('volmgr'); $cluster->start('volmgr') } ],
	[ 'everything', sub { $cluster->stop; $cluster->start } ],
	[ 'the servers under a running volmgr',
		sub { $cluster->stop(@servers); $cluster->start(@servers) } ],
	[ 'one server after the other',
		sub { for my $s (@servers) { $cluster->stop($s); $cluster->start($s) } } ],
	[ 'servers first, and back in reverse',
		sub { $cluster->stop(@servers); $cluster->stop('volmgr');
			$cluster->start(reverse @servers); $cluster->start('volmgr') } ],
	[ 'volmgr back before the servers',
		sub { $cluster->stop; $cluster->start('volmgr'); $cluster->start(@servers) } ],
);
my $n = 0;
for my $round (@rounds) {
	my ($name, $fn) = @$round;
	my $done = eval { $fn->(); 1 };
	ok($done, "$name: stop and start") or diag($@);
	for my $volume (sort keys %image) {
		ok(same($volume, $image{$volume}), "$name: volume $volume is still the same");
		my $wrote = eval {
			write_both($volume, $image{$volume}, 100_001 * ++$n, 70_000);
			write_both($volume, $image{$volume}, 1 << 20, 1 << 20);
			1;
		};
		ok($wrote, "$name: and takes new writes") or diag($@);
		ok(same($volume, $image{$volume}), "$name: which are there");
	}
}
is($cluster->uri, $uri, 'the address stayed the same all the time');

my $list = json_decode($cluster->volctl('--json', 'volume', 'list'));
$list = $list->{volumes} if ref $list eq 'HASH';
is_deeply([ sort map { $_->{name} } @$list ], [qw(one two)], 'and so did the list of volumes');
my $status;
eval { wait_until('all to be well', 120, sub { $status = json_decode($cluster->volctl('--json', 'status')); $status->{state} eq 'ok' }) };
is($status->{state}, 'ok', 'volmgr says that all is well') or diag(json_encode($status));
done_testing();
