#!/usr/bin/perl
# Full stores: the client is told that there is no space, nothing that was written is lost, all of it can
# be read, other volumes are read too, and after a discard it goes on.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use POSIX ();
use Test::More;
use Weft;
use Weft::Cluster;

need(qw(nbdsrv volmgr volctl qemu-io));
my $dir = temp_dir();
my $mib = 1 << 20;
# A volume larger than the stores: thin.
my $cluster = Weft::Cluster->new(dir => "$dir/c", ec => '2+1', size => '2G', store_size => '160M',
	volume => 'big');
at_end(sub { $cluster->kill });
$cluster->up;
$cluster->create_volume('small', size => '4M');

sub io
{
	my ($volume, @commands) = @_;
	return run({ timeout => 120 }, tool('qemu-io'), '-f', 'raw', '-t', 'none',
		(map { ('-c', $_) } @commands), $cluster->uri($volume));
}

sub fine
{
	my ($got) = @_;
	return $got->{status} == 0 && "$got->{out}$got->{err}" !~ /failed|rror/;
}

ok(fine(io('small', 'write -P 0x11 0 4M', 'flush')), 'another volume is written');

# One command a MiB, in one client: it goes on after a failure.
my $last = 511;
my $got = io('big', map { sprintf('write -P %d %dM 1M', $_ % 250 + 1, $_) } 0 .. $last);
my @results = grep { /^wrote|failed/ } split(/\n/, "$got->{out}$got->{err}");
like("$got->{out}$got->{err}", qr/write failed: No space left on device/, 'then the client is told so');
my $count = grep { /^wrote/ } @results;
cmp_ok($count, '>', 64, "after as much as there is room for ($count MiB)");
cmp_ok($count, '<=', 320, 'and not more');

# Which ones were acknowledged: qemu-io says it of each, in order on two streams; so read all of them.
my %wrote;
$wrote{ $1 / $mib } = 1 while $got->{out} =~ m{^wrote 1048576/1048576 bytes at offset ([0-9]+)}mg;
my @good = sort { $a <=> $b } keys %wrote;
is(scalar(@good), $count, 'what was acknowledged is known');

sub all_there
{
	my (@which) = @_;
	my $read = io('big', map { sprintf('read -P %d %dM 1M', $_ % 250 + 1, $_) } @which);
	my $n = () = $read->{out} =~ /^read 1048576/mg;
	my $wrong = () = "$read->{out}$read->{err}" =~ /verification failed|read failed/g;
	diag("$n read, $wrong wrong, of " . scalar(@which)) if $n != @which || $wrong;
	return $n == @which && !$wrong;
}

ok(all_there(@good), 'all that was acknowledged is there');
ok(fine(io('small', 'read -P 0x11 0 4M')), 'and the other volume too');
ok(fine(io('big', 'flush')), 'a flush succeeds');
for my $name ($cluster->names) {
	ok(defined $cluster->pid($name), "$name runs");
}

$cluster->stop;
$cluster->start;
ok(all_there(@good), 'after a restart all of it is there still');

# Give back the first half of what is there.
my @gone = @good[ 0 .. $#good / 2 ];
my @kept = @good[ $#gone + 1 .. $#good ];
ok(fine(io('big', (map { "discard ${_}M 1M" } @gone), 'flush')), 'a full volume can be trimmed');
my $again = eval {
	wait_until('room', 60, sub {
		return fine(io('big', 'write -P 0x77 1000M 16M', 'flush'));
	});
};
ok($again, 'then writes succeed again');
ok(fine(io('big', 'read -P 0x77 1000M 16M')), 'and are read');
ok(fine(io('big', map { "read -P 0 ${_}M 1M" } @gone[ 0 .. 3 ])), 'what was trimmed reads as zeros');
ok(all_there(@kept), 'the rest is untouched');
ok(fine(io('small', 'write -P 0x12 0 4M', 'read -P 0x12 0 4M')), 'the other volume can be written');
# a volume that waits: its writes go on as soon as another one gives its space up
$cluster->create_volume('patient', size => '64M');
like($cluster->volctl('volume', 'set', 'patient', '--when-full', 'wait'), qr/full: wait/, 'a volume may wait for space');
io('big', map { sprintf('write -P 3 %dM 1M', $_) } 0 .. $last);
my $pid = fork() // die "fork: $!";
if (!$pid) {
	my $patient = io('patient', 'write -P 0x55 0 32M', 'flush');
	POSIX::_exit(fine($patient) ? 0 : 1);
}
wait_until('the write to wait', 60, sub { $cluster->get('/volumes/patient')->{stat}{waiting} > 0 });
ok(waitpid($pid, POSIX::WNOHANG()) == 0, 'its write waits while the stores are full');
my $full = qr/^Volume (?:big|patient) \(2\+1\) cannot be written to where nothing is yet: that takes room on 3 servers, and [0-2] have some\.$/;
my $said;
eval { wait_until('the status', 60, sub { ($said = $cluster->get('/status')->{message}) =~ $full }) };
like($said, $full, 'and the status says so');
$cluster->volctl('volume', 'delete', 'big', '--yes');
ok(pid_wait($pid, 60), 'and ends when there is room');
ok(fine(io('patient', 'read -P 0x55 0 32M')), 'it is what was written');
done_testing();
