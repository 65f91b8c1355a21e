#!/usr/bin/perl
# volctl recover that is done wrongly: on metadata that is not lost, where no number of a volume may be
# given twice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
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

sub agree
{
	my ($what) = @_;
	my $good = eval { wait_until('agreement', 120, sub { $cluster->volctl_run('check')->{status} == 0 }) };
	return ok($good, $what);
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
$cluster->create_volume('photos');
cmp_ok($cluster->get('/volumes/photos')->{id}, '>', $second, 'the next volume has no number that was used before');
fill('photos', 0x11);
$cluster->create_volume('other'); # all servers are put in order
agree('and metadata and servers agree');
holds('photos', 0x11, 'and it is not taken for the one that was deleted');
done_testing();
