#!/usr/bin/perl
# Space that a volume gives up comes back to the file system that the stores lie on, soon after.
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
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => '128M');
at_end(sub { $cluster->kill });
$cluster->up;

sub io
{
	my (@commands) = @_;
	my $got = run({ timeout => 120 }, tool('qemu-io'), '-f', 'raw', '-t', 'none', '-d', 'unmap',
		(map { ('-c', $_) } @commands), $cluster->uri);
	return $got->{status} == 0 && "$got->{out}$got->{err}" !~ /failed|rror/;
}

# MiB that the stores really take.
sub used
{
	my $blocks = 0;
	$blocks += (stat($cluster->store_file($_)))[12] for $cluster->server_names;
	return $blocks * 512 / $mib;
}

sub falls_below
{
	my ($most) = @_;
	return eval { wait_until("less than $most MiB", 60, sub { used() < $most }); 1 };
}

my $start = used();
ok(io((map { "write -P 7 ${_}M 16M" } map { 16 * $_ } 0 .. 7), 'flush'), 'a volume is filled');
my $full = used();
cmp_ok($full, '>', $start + 180, "its stores take space ($start, then $full MiB)");
ok(io((map { "discard ${_}M 16M" } map { 16 * $_ } 1 .. 7), 'flush'), 'all but its start is trimmed');
ok(falls_below($start + 60), 'the stores give the space back') or diag(used() . ' MiB');
ok(io('read -P 7 0 16M', 'read -P 0 16M 112M'), 'what was kept is there, the rest is zeros');

ok(io((map { "write -P 8 ${_}M 16M" } map { 16 * $_ } 0 .. 7), 'flush'), 'it is filled again');
cmp_ok(used(), '>', $start + 180, 'and takes space');
$cluster->volctl('volume', 'delete', $cluster->{volume}, '--yes');
ok(falls_below($start + 30), 'a volume that is deleted gives all of it back') or diag(used() . ' MiB');
done_testing();
