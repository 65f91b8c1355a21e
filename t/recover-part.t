#!/usr/bin/perl
# volctl recover that is done wrongly: on metadata that is not lost, where no number of a volume may be
# given twice; and with too few addresses, which nothing shows when a volume's extents are all on the
# others. These are taken in later: what they hold is not given back, and is there when recovery is
# repeated with all of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(remove_tree);
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl qemu-io));
my $dir = temp_dir();
my $mib = 1 << 20;
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => '8M', volume => 'first', servers => 6,
	args => { volmgr => [qw(--server-timeout 60000)] });
at_end(sub { $cluster->kill });
$cluster->up;

sub io
{
	my ($volume, @commands) = @_;
	return run(tool('qemu-io'), '-f', 'raw', '-t', 'none', (map { ('-c', $_) } @commands), $cluster->uri($volume));
}

sub fill
{
	my ($volume, $pattern) = @_;
	my $got = io($volume, "write -P $pattern 0 8M", 'flush');
	return is($got->{status}, 0, "volume $volume is written") || diag("$got->{out}$got->{err}");
}

sub holds
{
	my ($volume, $pattern, $what) = @_;
	my $got = io($volume, "read -P $pattern 0 8M");
	return ok($got->{status} == 0 && $got->{out} !~ /verification failed/, $what) || diag("$got->{out}$got->{err}");
}

sub logged
{
	my ($what) = @_;
	return scalar(() = slurp($cluster->log_file('volmgr')) =~ /$what/g);
}

sub agree
{
	my ($what) = @_;
	my $got;
	my $good = eval {
		wait_until('agreement', 60, sub {
			$got = $cluster->volctl_run('check');
			return $got->{status} == 0;
		});
	};
	return ok($good, $what) || diag("$got->{out}$got->{err}");
}

# ---- numbers ----

# the servers know the first volume, and not the second, which was deleted before they heard of it
agree('the servers have the notes of the first volume');
my @pids = map { $cluster->pid($_) } $cluster->server_names;
kill('STOP', @pids);
$cluster->create_volume('second');
my $second = $cluster->get('/volumes/second')->{id};
$cluster->volctl(qw(volume delete second --yes));
kill('CONT', @pids);
$cluster->volctl(qw(volume delete first --yes));
my $got = $cluster->volctl_run('recover');
is($got->{status}, 0, 'metadata without volumes is recovered, though it is not lost') or diag("$got->{out}$got->{err}");
is(scalar(@{ $cluster->get('/volumes')->{volumes} }), 0, 'and nothing comes back that was deleted');
$cluster->create_volume('photos');
cmp_ok($cluster->get('/volumes/photos')->{id}, '>', $second, 'the next volume has no number that was used before');
fill('photos', 0x11);
$cluster->create_volume('other'); # all servers are put in order
agree('and metadata and servers agree');
holds('photos', 0x11, 'and it is not taken for the one that was deleted');
$cluster->volctl(qw(volume delete other --yes));

# ---- addresses ----

my %has = map { $_->{server} => 1 }
    map { @{ $_->{shards} } } @{ json_decode($cluster->volctl(qw(--json volume map photos)))->{extents} };
is(scalar(keys %has), 3, 'all of a volume is on three servers of six');
my %address = map { $_->{name} => $_->{address} } @{ $cluster->get('/servers')->{servers} };
agree('and all of them have its notes');
$cluster->stop('volmgr');
remove_tree("$dir/c/volmgr");
$cluster->start('volmgr');
$got = $cluster->volctl_run('recover', map { $address{$_} } grep { !$has{$_} } sort keys %address);
is($got->{status}, 0, 'it is recovered from the others, which miss nothing') or diag("$got->{out}$got->{err}");
wait_until('the volume', 60, sub { $cluster->get('/volumes/photos')->{state} eq 'ready' });
holds('photos', 0, 'and is empty');
my $late = qr/[1-9][0-9]* slots (?:of volume \S+ that were in no use were given back|that nobody knew of are kept)/;
my $left = logged($late);
$cluster->volctl('server', 'add', $address{$_}, '--name', "late-$_", '--host', "host-$_") for sort keys %has;
wait_until('these servers are looked at', 60, sub {
	logged($late) >= $left + 3;
});
$got = $cluster->volctl_run('check');
like($got->{out}, qr/left out by mistake/, 'volctl check says that they know more') or diag("$got->{out}$got->{err}");
$cluster->stop('volmgr');
remove_tree("$dir/c/volmgr");
$cluster->start('volmgr');
$got = $cluster->volctl_run('recover', map { $address{$_} } sort keys %address);
is($got->{status}, 0, 'it is recovered anew, from all') or diag("$got->{out}$got->{err}");
wait_until('the volume', 60, sub { $cluster->get('/volumes/photos')->{state} eq 'ready' });
holds('photos', 0x11, 'and has its bytes');
agree('and all agree');
done_testing();
