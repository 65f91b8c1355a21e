#!/usr/bin/perl
# Bytes that change on the disks of servers: a read never returns them, they are written anew, counted
# and shown; scrub finds those that nobody reads, and goes on after a restart.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA;
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::Store;

need(qw(nbdsrv volmgr volctl nbdcopy));
my $dir = temp_dir();
my $size = 48 << 20;
my $unit = 65536;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => $size, unit => '64K',
	args => { volmgr => [qw(--scrub-interval 0 --server-timeout 60000)] });
at_end(sub { $cluster->kill });
$cluster->up;
my $volume = $cluster->{volume};

open(my $random, '<:raw', '/dev/urandom') or die $!;
read($random, my $image, $size) == $size or die 'random';
spew("$dir/image", $image);
my $sum = Digest::SHA::sha256_hex($image);
run_ok(tool('nbdcopy'), '--flush', "$dir/image", $cluster->uri);

sub volume_sum
{
	unlink("$dir/out");
	run_ok(tool('nbdcopy'), $cluster->uri, "$dir/out");
	return Digest::SHA->new(256)->addfile("$dir/out", 'b')->hexdigest;
}

my $extents = json_decode($cluster->volctl('--json', 'volume', 'map', $volume))->{extents};

# Damages a block of a shard, as soon as it is on the disk.
sub damage
{
	my ($extent, $shard, $byte) = @_;
	my $place = $extents->[$extent]{shards}[$shard];
	my $store = Weft::Store->open($cluster->store_file($place->{server}));
	wait_until('the block to be on its disk', 60, sub { $store->where($place->{slot}, $byte) });
	$store->damage($place->{slot}, $byte);
	return $place->{server};
}

sub server { return json_decode($cluster->volctl('--json', 'server', 'show', $_[0])) }

sub counted
{
	my $list = $cluster->get('/servers')->{servers};
	my %sum;
	for my $server (@$list) {
		$sum{$_} += $server->{$_} for qw(bad_blocks misfit_blocks repaired_blocks);
	}
	return \%sum;
}

sub scrub_state
{
	my ($state) = grep { $_->{volume} eq $volume } @{ $cluster->get('/scrub')->{scrubs} };
	return $state;
}

sub scrub_wait
{
	my ($after) = @_;
	return wait_until('the end of the scrub', 120, sub {
		my $state = scrub_state();
		return $state->{state} eq 'done' ? $state : undef;
	});
}

is($cluster->get('/status')->{state}, 'ok', 'all is well at first');
is(scrub_state()->{state}, 'never', 'nothing was scrubbed yet');

# one block that is read
my $server = damage(0, 1, 5 * $unit + 8192);
is(volume_sum(), $sum, 'a damaged block is not returned, the data is right');
# on a slow machine the bytes may be computed before the block is seen
wait_until('the repair', 60, sub {
	return 1 if server($server)->{repaired_blocks} == 1;
	volume_sum() eq $sum or die "wrong bytes\n";
	return 0;
});
is(server($server)->{bad_blocks}, 1, 'it is counted for its server');
is(volume_sum(), $sum, 'and was written anew');
is(server($server)->{bad_blocks}, 1, 'so that it is not met again');
like($cluster->volctl('server', 'show', $server), qr/damage +1 bad blocks.*1 written anew; 1 since the last clean scrub/, 'volctl shows it');
my $status = $cluster->get('/status');
is($status->{state}, 'repaired', 'the status says so');
like($status->{message}, qr/\Q$server\E/, 'and of which server');

like($status->{hint}, qr/scrub start/, 'and what helps');
sub open_damage { return server($_[0])->{damaged_blocks} }
is(open_damage($server), 1, 'and so does the server');

# some on all shards that nobody reads: parity too, and more in one stripe than there is parity
damage(1, $_, $_ * 4096) for 0 .. 5;
damage(2, 4, 17 * $unit);
$cluster->volctl('scrub', 'start', $volume);
my $state = scrub_wait();
is($state->{bad_blocks}, 7, 'scrub finds each of them');
is($state->{repaired_blocks}, 7, 'and repairs it');
is($state->{lost_rows} + $state->{skipped} + $state->{misfit_blocks}, 0, 'nothing is lost');
is($state->{percent}, 100, 'all was looked at');
cmp_ok($state->{bytes}, '>', $size / 4 * 6 - (1 << 20), 'data and parity');
is(counted()->{repaired_blocks}, 8, 'servers are charged with it');
like($cluster->volctl('scrub', 'status'), qr/^\Q$volume\E +done +100% .* 7 +0 +7 +0 +0$/m, 'volctl shows what it found');
is(volume_sum(), $sum, 'the data is right');
is($cluster->get('/status')->{state}, 'repaired', 'a scrub that meets damage does not end the warning');
cmp_ok(open_damage($server), '>=', 1, 'of the server');

$cluster->volctl('scrub', 'start');
is(scrub_wait()->{bad_blocks}, 0, 'a second scrub finds nothing');
is($cluster->get('/status')->{state}, 'ok', 'and so the warning ends');
is($cluster->get('/status')->{message}, 'Everything is fine.', 'of all servers');
is(open_damage($_), 0, "$_ has nothing open any more") for map { $_->{name} } @{ $cluster->get('/servers')->{servers} };
is(counted()->{bad_blocks}, 8, 'while the counters go on');
wait_until("the server's own errors to be no news", 60, sub { server($server)->{disk_errors} == 0 });
cmp_ok(server($server)->{stat}{crc_errors}, '>=', 1, 'which it still counts');

damage(0, $_, (20 + $_) * $unit) for 1, 4;
$cluster->volctl(qw(scrub start --checksums), $volume);
$state = scrub_wait();
ok($state->{checksums}, 'a scrub of checksums alone');
is($state->{repaired_blocks}, 2, 'finds and repairs bad blocks, too');


# what does not end the warning
$cluster->volctl('scrub', 'start');
scrub_wait();
is($cluster->get('/status')->{state}, 'ok', 'all is well again');
$cluster->create_volume('other', size => 16 << 20);
spew("$dir/small", substr($image, 0, 16 << 20));
run_ok(tool('nbdcopy'), '--flush', "$dir/small", $cluster->uri('other'));
my $sick = damage(0, 3, 7 * $unit);
volume_sum() eq $sum or die "wrong bytes\n";
wait_until('the damage', 60, sub { return 1 if open_damage($sick) == 1; volume_sum(); return 0 });
$cluster->volctl('scrub', 'start', 'other');
wait_until('the end of the other scrub', 120, sub { (grep { $_->{volume} eq 'other' && $_->{state} eq 'done' } @{ $cluster->get('/scrub')->{scrubs} })[0] });
is(open_damage($sick), 1, 'a scrub of another volume does not');

my $frozen = $cluster->pid('server-1');
kill('STOP', $frozen);
$cluster->volctl('scrub', 'start', $volume);
wait_until('the scrub to run', 60, sub { scrub_state()->{state} eq 'running' });
$cluster->volctl('scrub', 'stop', $volume);
kill('CONT', $frozen);
wait_until('the scrub to stop', 60, sub { scrub_state()->{state} eq 'stopped' });
is(open_damage($sick), 1, 'nor one that is stopped on its way');

$cluster->kill($sick);
wait_until('the server to be away', 60, sub { server($sick)->{state} ne 'up' });
$cluster->volctl('scrub', 'start', $volume);
scrub_wait();
$cluster->start($sick);
wait_until('the server to be back', 60, sub { server($sick)->{state} eq 'up' });
is(open_damage($sick), 1, 'nor one that the server was away from');
wait_until('its shards', 60, sub { $cluster->get('/status')->{state} eq 'repaired' });

# both volumes are on it: each was to be looked through since
$cluster->volctl('scrub', 'start', $volume);
is(scrub_wait()->{bad_blocks}, 0, 'a scrub with all servers');
is(open_damage($sick), 1, 'the other volume was not looked through since it was away');
$cluster->volctl('scrub', 'start');
scrub_wait();
wait_until('the other volume', 120, sub { !grep { $_->{state} ne 'done' } @{ $cluster->get('/scrub')->{scrubs} } });
is(open_damage($sick), 0, 'one of all volumes settles it');
is($cluster->get('/status')->{state}, 'ok', 'and the status');
$cluster->volctl(qw(volume delete other --yes));

# over a restart
damage(2, 0, 3 * $unit);
$cluster->volctl('scrub', 'start');
$cluster->stop('volmgr');
$cluster->start('volmgr');
$state = scrub_wait();
is($state->{extents}, scalar @$extents, 'a scrub goes on after a restart of volmgr, to the end');
cmp_ok($state->{repaired_blocks}, '<=', 1, 'it repairs the block, if that was not done just before');
$cluster->volctl('scrub', 'start');
is(scrub_wait()->{bad_blocks}, 0, 'which is good now');

my $got = $cluster->volctl_run('scrub', 'start', 'nothing');
is($got->{status}, 1, 'a volume that is not there is not scrubbed');
like($got->{err}, qr/nothing/, 'and volctl says so');
is($cluster->volctl_run('scrub', 'start', 'a', 'b')->{status}, 2, 'one volume or all');

$cluster->volctl('scrub', 'stop');
is(scrub_state()->{state}, 'done', 'what has ended cannot be stopped');
done_testing();
