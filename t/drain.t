#!/usr/bin/perl
# Servers that are emptied while clients write, that stay away, that come in: their shards go where they
# belong, nothing is lost, and what cannot be done is refused with the reason.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA;
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl nbdcopy));
my $dir = temp_dir();
my $size = 64 << 20;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '4+2', servers => 9, size => $size, unit => '64K',
	store_size => '1G', args => { volmgr => [qw(--replace-after 2 --server-timeout 60000)] });
at_end(sub { $cluster->kill });
$cluster->format_stores;
$cluster->start;
my @servers = $cluster->server_names;
my $last = pop @servers;
my $spare = pop @servers;

sub add { $cluster->volctl('server', 'add', $cluster->{address}{$_[0]}, '--name', $_[0], '--host', "host-$_[0]") }
sub server { return json_decode($cluster->volctl('--json', 'server', 'show', $_[0])) }

# Shards of a server, and stale ones of all, by the extent maps.
sub shards
{
	my %on;
	my $stale = 0;
	for my $volume (@{ $cluster->get('/volumes')->{volumes} }) {
		for my $extent (@{ $cluster->get("/volumes/$volume->{name}/map")->{extents} }) {
			my %here;
			for my $shard (@{ $extent->{shards} }) {
				$on{ $shard->{server} }++;
				$stale++ if $shard->{stale};
				die "two shards of an extent on $shard->{server}\n" if $here{ $shard->{server} }++;
			}
		}
	}
	return (\%on, $stale);
}

sub refused
{
	my ($what, $like, @args) = @_;
	my $got = $cluster->volctl_run('server', @args);
	is($got->{status}, 1, "$what is refused");
	like($got->{err}, $like, 'with the reason and what would help');
	return;
}

sub sum_of
{
	my ($volume) = @_;
	unlink("$dir/out");
	run_ok(tool('nbdcopy'), $cluster->uri($volume), "$dir/out");
	return Digest::SHA->new(256)->addfile("$dir/out", 'b')->hexdigest;
}

add($_) for @servers[0 .. 5];
$cluster->create_volume('still');
$cluster->create_volume('busy');
open(my $random, '<:raw', '/dev/urandom') or die $!;
read($random, my $image, $size) == $size or die 'random';
spew("$dir/image", $image);
my $sum = Digest::SHA::sha256_hex($image);
undef $image;
run_ok(tool('nbdcopy'), '--flush', "$dir/image", $cluster->uri('still'));
run_ok(tool('nbdcopy'), '--flush', "$dir/image", $cluster->uri('busy'));

is(server('server-1')->{duty}, 'member', 'a server is a member');
refused('removing a server that holds shards', qr/holds [0-9]+ shards.*server drain/s, 'remove', 'server-1');
refused('draining one of six with 4+2', qr/4\+2.*needs 6.*server add/s, 'drain', 'server-1');

# drain, while a client writes
add('server-7');
my $writer = fork() // die $!;
if (!$writer) {
	$SIG{TERM} = 'DEFAULT';
	while (1) { run_ok(tool('nbdcopy'), "$dir/image", $cluster->uri('busy')) }
}
like($cluster->volctl('server', 'drain', 'server-1'), qr/takes no new shards/, 'a server is to be emptied');
ok(exists($cluster->get('/moves')->{$_}), "how far moving is: $_") for qw(done total rate seconds_left);
wait_until('the server to be empty', 120, sub { server('server-1')->{duty} eq 'drained' });
kill('TERM', $writer);
waitpid($writer, 0);
sub noted { return scalar grep { $_->{what} eq $_[0] && $_->{object} eq $_[1] && $_->{who} eq '' } @{ $cluster->get('/events')->{events} } }
is(noted('server.emptied', 'server-1'), 1, 'which is an event');
my ($on, $stale) = shards();
is($on->{'server-1'} // 0, 0, 'it is, while a client writes');
is(sum_of('still'), $sum, 'what was written before is right');
run_ok(tool('nbdcopy'), '--flush', "$dir/image", $cluster->uri('busy'));
is(sum_of('busy'), $sum, 'and what was written meanwhile');
like($cluster->volctl('server', 'show', 'server-1'), qr/drained: .* \(100%\)/, 'volctl shows it');
refused('giving up a server that is up', qr/is up.*server drain/s, 'remove', 'server-2', '--lost');
like($cluster->volctl('server', 'drain', 'server-1', '--stop'), qr/stays/, 'it may stay after all');
is(server('server-1')->{duty}, 'member', 'and is a member again');

# one that stays away
$cluster->kill('server-2');
wait_until('volmgr to see it', 120, sub { server('server-2')->{state} eq 'down' });
refused('draining one that is away', qr/is down.*--lost/s, 'drain', 'server-2');
wait_until('the limit', 120, sub { server('server-2')->{duty} eq 'replaced' });
wait_until('its shards on others', 120, sub {
	my ($on, $stale) = shards();
	return !$on->{'server-2'} && !$stale;
});
pass('the shards of a server that stays away are made anew on others');
is(sum_of('still'), $sum, 'from what the others have');
$cluster->start('server-2');
wait_until('the server to be back', 120, sub { server('server-2')->{duty} eq 'member' });
pass('it is a member again when it is back');

# one that is gone for ever
$cluster->kill('server-3');
wait_until('volmgr to see it', 120, sub { server('server-3')->{state} eq 'down' });
like($cluster->volctl('server', 'remove', 'server-3', '--lost'), qr/is given up/, 'a lost server is given up');
wait_until('it to be forgotten', 120, sub { $cluster->volctl_run('server', 'show', 'server-3')->{status} == 1 });
is_deeply([ map { $_->{what} } grep { $_->{object} eq 'server-3' && $_->{what} =~ /lost|removed/ } reverse @{ $cluster->get('/events')->{events} } ],
	[ 'server.lost', 'server.removed' ], 'each is an event, once');
($on, $stale) = shards();
is($stale, 0, 'it is taken out when all its shards are made anew');
is(sum_of('busy'), $sum, 'the data is there');

# one by another
add($spare);
like($cluster->volctl('server', 'replace', 'server-4', $spare), qr/move to server-8/, 'a server is replaced');
$cluster->stop('volmgr');
$cluster->start('volmgr');
wait_until('it to be gone', 120, sub { $cluster->volctl_run('server', 'show', 'server-4')->{status} == 1 });
is(noted('server.removed', 'server-4'), 1, 'as it is that it has gone');
($on, $stale) = shards();
cmp_ok($on->{$spare}, '>=', 4, 'by the one that was named, also over a restart of volmgr');
is(sum_of($_), $sum, "volume $_ is right") for qw(still busy);
ok(eval { wait_until('all to be well', 120, sub { $cluster->get('/status')->{state} eq 'ok' }) }, 'and all is well')
    or diag(json_encode($cluster->get('/status')));

# an empty one beside full ones
my $extents = 40;
open(my $wide, '>:raw', "$dir/wide") or die $!;
for my $extent (0 .. $extents - 1) {
	seek($wide, $extent * (16 << 20), 0);
	print $wide "extent $extent" x 300;
}
truncate($wide, $extents * (16 << 20)) or die $!;
close($wide) or die $!;
my $wide_sum = Digest::SHA->new(256)->addfile("$dir/wide", 'b')->hexdigest;
$cluster->create_volume('wide', size => $extents * (16 << 20));
run_ok(tool('nbdcopy'), '--flush', "$dir/wide", $cluster->uri('wide'));
my ($before) = shards();
add($last);
wait_until('the new server to get its part', 120, sub { ($on) = shards(); ($on->{$last} // 0) >= $extents / 2 });
wait_until('the end of moving', 120, sub {
	my $moves = $cluster->get('/moves');
	return !$moves->{balancing} && !$moves->{running};
});
($on, $stale) = shards();
my ($least, $most) = (sort { $a <=> $b } values %$on)[0, -1];
# how even it gets is the subject of t/unit/moves.t: here it depends on what moved before
cmp_ok($on->{$last}, '>=', $extents / 2, "a server that is added gets its part (all have $least to $most shards)");
my $given = 0;
$given += $before->{$_} - $on->{$_} for grep { $on->{$_} < $before->{$_} } keys %$before;
cmp_ok($given, '<=', $on->{$last} + $extents, 'and not everything moves');
is(sum_of('wide'), $wide_sum, 'the data is there');
is($stale, 0, 'nothing was stale for it');
done_testing();
