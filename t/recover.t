#!/usr/bin/perl
# volmgr's metadata is lost: volctl recover rebuilds it from the servers. Every volume is there again with
# its size, settings and bytes, a shard that had missed writes is not trusted, and volctl check says
# that metadata and servers agree, before and after, online and offline. Slots that nobody uses are
# given back by themselves.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA;
use File::Path qw(remove_tree);
use Test::More;
use Weft;
use Weft::Cluster;
use Weft::Store;

need(qw(nbdsrv volmgr volctl nbdcopy qemu-io));
my $dir = temp_dir();
my $mib = 1 << 20;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', size => '50M', volume => 'one', servers => 7,
	args => { volmgr => [qw(--server-timeout 60000)] });
at_end(sub { $cluster->kill });
$cluster->up;
$cluster->create_volume('two', ec => '2+1', size => '16M', unit => '16K');
$cluster->volctl(qw(volume set two --min 3 --below-min fail --when-full wait));
$cluster->create_volume('empty', ec => '3+0', size => '12M');
$cluster->create_volume('gone', size => '32M');
my $gone = $cluster->get('/volumes/gone')->{id};

sub agree
{
	my ($what) = @_;
	my $last;
	my $good = eval {
		wait_until('agreement', 120, sub {
			$last = $cluster->volctl_run('check');
			return $last->{status} == 0;
		});
	};
	return ok($good, $what) || diag($last->{out} . $last->{err});
}

sub volume_sum
{
	my ($volume) = @_;
	unlink("$dir/out");
	run_ok(tool('nbdcopy'), $cluster->uri($volume), "$dir/out");
	return Digest::SHA->new(256)->addfile("$dir/out", 'b')->hexdigest;
}

sub fill
{
	my ($volume, $bytes) = @_;
	open(my $random, '<:raw', '/dev/urandom') or die $!;
	read($random, my $image, $bytes) == $bytes or die 'random';
	spew("$dir/image", $image);
	run_ok(tool('nbdcopy'), '--flush', "$dir/image", $cluster->uri($volume));
	return;
}

sub write_pattern
{
	my ($volume, $pattern, $at, $len) = @_;
	run_ok(tool('qemu-io'), '-f', 'raw', '-t', 'none', '-c', "write -P $pattern $at $len", '-c', 'flush',
		$cluster->uri($volume));
	return;
}

# The server of a shard of the first extent.
sub server_of
{
	my ($shard) = @_;
	return json_decode($cluster->volctl(qw(--json volume map one)))->{extents}[0]{shards}[$shard]{server};
}

# Is this text in a server's log, or in a label?
sub noted
{
	my ($server, $text) = @_;
	my $file = $cluster->store_file($server);
	my $end = Weft::Store->open($file)->{data};
	open(my $fh, '<:raw', $file) or die "$file: $!\n";
	for (my ($at, $last) = (0, ''); $at < $end; $at += $mib) {
		read($fh, my $bytes, $mib) // die "$file: $!\n";
		return 1 if index($last . $bytes, $text) >= 0;
		$last = substr($bytes, -64);
	}
	return 0;
}

my @addresses;
fill('one', 50 * $mib);
fill('two', 8 * $mib);
fill('gone', 16 * $mib);
$cluster->volctl(qw(volume resize one 60M));
agree('metadata and servers agree');

# a volume is deleted, and one loses its data, while a server is away; another misses a write
my $away = server_of(1);
$cluster->kill($away);
write_pattern('one', 0x3c, 0, 4 * $mib);
$cluster->volctl(qw(volume delete gone --yes));
my $stale = grep { $_->{stale} }
    map { @{ $_->{shards} } } @{ json_decode($cluster->volctl(qw(--json volume map one)))->{extents} };
cmp_ok($stale, '>', 0, "a server that is away has missed writes ($stale shards)");
$cluster->kill('volmgr');
$cluster->start($away);
$cluster->start('volmgr');
agree('the slots of a deleted volume are given back by themselves');

my %sum = map { $_ => volume_sum($_) } qw(one two empty);
my %show = map { $_ => json_decode($cluster->volctl(qw(--json volume show), $_)) } qw(one two empty);
my @addr = map { $_->{address} } @{ $cluster->get('/servers')->{servers} };

# online and offline
is($cluster->volctl_run('check', '--offline', '--dir', "$dir/c/volmgr", '--secret', $cluster->secret)->{status}, 1,
	'a check is not offline while volmgr runs');
$cluster->stop('volmgr');
my $offline = $cluster->volctl_run('check', '--offline', '--dir', "$dir/c/volmgr", '--secret', $cluster->secret);
is($offline->{status}, 0, 'without volmgr they agree too') or diag("$offline->{out}$offline->{err}");
like($offline->{out}, qr/agree: [1-9]/, 'and something was compared');

# all of it is lost
$cluster->start('volmgr');
wait_until('the volume', 120, sub { $cluster->get('/volumes/one')->{state} eq 'ready' });
$away = server_of(4);
$cluster->kill($away);
write_pattern('one', 0x5d, 8 * $mib, 4 * $mib);
$sum{one} = volume_sum('one');
$cluster->kill('volmgr');
$cluster->start($away);
remove_tree("$dir/c/volmgr");
$cluster->start('volmgr');
is(scalar(@{ $cluster->get('/volumes')->{volumes} }), 0, 'nothing is left');
my $got = $cluster->volctl_run('recover');
is($got->{status}, 1, 'without servers nothing can be recovered');
like($got->{err}, qr/no servers/, 'and volctl says so');
$got = $cluster->volctl_run('recover', @addr[ 0 .. 3 ]);
is($got->{status}, 1, 'nor without some of them');
like($got->{out}, qr/Missing/, 'since shards are missing') or diag($got->{out} . $got->{err});
is(scalar(@{ $cluster->get('/volumes')->{volumes} }), 0, 'nothing was written then');
for my $more (qw(--json --force --dry-run)) {
	$got = $cluster->volctl_run('recover', '--dry-run', $more, @addr[ 0 .. 3 ]);
	is($got->{status}, 4, "a dry run without some of them has a status of its own ($more)") or diag("$got->{out}$got->{err}");
}
like($got->{out}, qr/Missing/, 'and says what is missing');
$got = $cluster->volctl_run('recover', '--dry-run', @addr);
is($got->{status}, 0, 'a dry run that finds everything') or diag("$got->{out}$got->{err}");
like($got->{out}, qr/nothing was written/, 'writes nothing');
$got = $cluster->volctl_run('recover', @addr);
is($got->{status}, 0, 'with all of them it is recovered') or diag("$got->{out}$got->{err}");
like($got->{out}, qr/Volume one: 62914560 bytes, 4\+2/, 'it says what it found');
like($got->{out}, qr/Volume one: [1-9][0-9]* shards missed writes/, 'and that shards are stale, which only servers knew');
unlike($got->{out}, qr/Missing|gone/, 'nothing is missing, and nothing comes back that was deleted');
for my $volume (qw(one two empty)) {
	wait_until("volume $volume", 120, sub {
		grep { $_->{name} eq $volume && $_->{state} eq 'ready' } @{ $cluster->get('/volumes')->{volumes} };
	});
	my $now = json_decode($cluster->volctl(qw(--json volume show), $volume));
	is_deeply([ @$now{qw(id size k m unit code min below_min when_full extents)} ],
		[ @{ $show{$volume} }{qw(id size k m unit code min below_min when_full extents)} ],
		"volume $volume has its number, size and settings");
	is(volume_sum($volume), $sum{$volume}, "volume $volume has its bytes");
}
is($cluster->volctl_run('recover', @addr)->{status}, 1, 'what is not lost is not recovered');
is($cluster->volctl_run('recover', '--dry-run', @addr)->{status}, 1, 'a dry run that cannot find out fails');
write_pattern('one', 0x44, 20 * $mib, 12 * $mib);
agree('metadata and servers agree again');
wait_until('the scrub', 120, sub {
	!grep { $_->{state} ne 'done' } @{ $cluster->get('/scrub')->{scrubs} };
});
my %scrub = map { $_->{volume} => $_ } @{ $cluster->get('/scrub')->{scrubs} };
is($scrub{one}{misfit_blocks}, 0, 'and parity fits');
$cluster->create_volume('new', size => '16M');
cmp_ok(json_decode($cluster->volctl(qw(--json volume show new)))->{id}, '>', $gone,
	'a new volume gets a number that was not used before');

# nothing is missing, but somebody should look: of a volume nothing is known but its name, by few of the servers
$cluster->kill(map { "server-$_" } 4 .. 7);
$cluster->create_volume('known-by-few', ec => '1+0', size => '16M');
wait_until('its name on a server', 60, sub { grep { noted("server-$_", 'known-by-few') } 1 .. 3 });
$cluster->kill('volmgr');
$cluster->start(map { "server-$_" } 4 .. 7);
remove_tree("$dir/c/volmgr");
$cluster->start('volmgr');
$got = $cluster->volctl_run('recover', '--dry-run', @addr);
is($got->{status}, 4, 'a dry run that has doubts tells') or diag("$got->{out}$got->{err}");
like($got->{out}, qr/^In doubt\n(?:  .*\n)*  Volume known-by-few has nothing but its name, on [1-3] of 7 servers/m, 'which');
unlike($got->{out}, qr/Missing/, 'though nothing is missing');
is($cluster->volctl_run('recover', @addr)->{status}, 0, 'they do not keep it from being recovered');
for my $volume (qw(one two)) {
	wait_until("volume $volume", 120, sub { $cluster->get("/volumes/$volume")->{state} eq 'ready' });
}

# lost together with a server: with --force the rest is recovered, and what is missing made anew
%sum = map { $_ => volume_sum($_) } qw(one two);
$cluster->stop('volmgr');
$cluster->kill('server-2');
remove_tree("$dir/c/volmgr");
$cluster->start('volmgr');
@addr = grep { !/server-2/ } @addr;
$got = $cluster->volctl_run('recover', @addr);
is($got->{status}, 1, 'a server is lost, too: not without saying so');
$got = $cluster->volctl_run('recover', '--force', @addr);
is($got->{status}, 0, 'with --force it is recovered') or diag("$got->{out}$got->{err}");
like($got->{out}, qr/Volume one: [0-9]+ shards are on no server/, 'it says what is missing');
for my $volume (qw(one two)) {
	wait_until("volume $volume", 120, sub { $cluster->get("/volumes/$volume")->{state} eq 'ready' });
	is(volume_sum($volume), $sum{$volume}, "volume $volume has its bytes");
}
ok(eval {
	wait_until('the rebuild', 120, sub {
		!grep { $_->{stale} } map { @{ $_->{shards} } }
		    @{ json_decode($cluster->volctl(qw(--json volume map one)))->{extents} };
	});
}, 'the missing shards are made anew on the others');
agree('and all agree');
done_testing();
