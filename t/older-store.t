#!/usr/bin/perl
# A backup of a store is put back: the server is found out when it connects, before
# anything old is read from it, and its shards are made anew; also when volmgr restarted meanwhile.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Digest::SHA;
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl nbdcopy cp));
my $dir = temp_dir();
my $size = 32 << 20;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+2', servers => 4, size => $size, store_size => '1G');
at_end(sub { $cluster->kill });
$cluster->up;

sub server { return $cluster->get('/servers/server-1') }

# Writes other bytes everywhere; their sum.
sub fill
{
	open(my $random, '<:raw', '/dev/urandom') or die $!;
	read($random, my $image, $size) == $size or die 'random';
	spew("$dir/image", $image);
	run_ok(tool('nbdcopy'), '--flush', "$dir/image", $cluster->uri);
	return Digest::SHA::sha256_hex($image);
}

# Of what the volume gives without two servers: so all that the others have is read.
sub sum_without
{
	my (@away) = @_;
	$cluster->kill(@away);
	for my $name (@away) {
		wait_until("volmgr to miss $name", 60, sub { $cluster->get("/servers/$name")->{state} eq 'down' });
	}
	unlink("$dir/out");
	run_ok({ timeout => 60 }, tool('nbdcopy'), $cluster->uri, "$dir/out");
	$cluster->start(@away);
	for my $name (@away) {
		wait_until("$name to be back", 60, sub { $cluster->get("/servers/$name")->{state} eq 'up' });
	}
	wait_until('all shards to be good', 60, sub { $cluster->get('/status')->{rebuild}{shards} == 0 });
	return Digest::SHA->new(256)->addfile("$dir/out", 'b')->hexdigest;
}

sub backup
{
	$cluster->stop('server-1'); # so that the copy is of one moment
	run_ok(tool('cp'), '-a', '--sparse=always', $cluster->store_dir('server-1'), "$dir/backup");
	$cluster->start('server-1');
	wait_until('it to be back', 60, sub { server()->{state} eq 'up' });
	return;
}

# Writes what the backup has not, until volmgr knows that there is more. What it knew before the second time was of
# the same run, or it asks anew: in both cases more than that is more than the backup has.
sub fill_heard
{
	fill();
	my $end = server()->{stat}{log_head} // 0;
	my $sum = fill();
	wait_until('volmgr to hear how far it is', 60, sub { (server()->{stat}{log_durable} // 0) > $end });
	return $sum;
}

sub put_back
{
	File::Path::remove_tree($cluster->store_dir('server-1'));
	rename("$dir/backup", $cluster->store_dir('server-1')) or die "rename: $!";
	return;
}

# It was found, and is over.
sub trusted_again
{
	my ($what) = @_;
	wait_until('its shards to be made anew', 120, sub {
		my $s = server();
		return $s->{rebuilt_shards} >= 4 && !$s->{older} && $s->{stale_shards} == 0;
	});
	like(slurp($cluster->log_file('volmgr')), qr/server-1 came back with an older store/, "$what: it is found out");
	return;
}

fill();
backup();
my $sum = fill_heard();
$cluster->kill('server-1');
put_back();
$cluster->start('server-1');
trusted_again('a backup is put back');
is(sum_without('server-3', 'server-4'), $sum, 'and nothing old is read from it');

# a plain restart is none, also with the power of the whole cluster
$cluster->kill;
$cluster->start;
wait_until('it to be up', 60, sub { server()->{state} eq 'up' });
ok(!server()->{older}, 'a store that was only killed is trusted');

# over a restart of volmgr
backup();
$sum = fill_heard();
$cluster->stop('volmgr');
$cluster->kill('server-1');
put_back();
$cluster->start('server-1', 'volmgr');
trusted_again('over a restart of volmgr');
is(sum_without('server-3', 'server-4'), $sum, 'and nothing old is read then');
$cluster->stop;
done_testing();
