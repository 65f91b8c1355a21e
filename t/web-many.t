#!/usr/bin/perl
# Two hundred open browsers: what volmgr takes for them, and that a client's reads go on beside them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use IO::Select;
use IO::Socket::UNIX;
use POSIX ();
use Test::More;
use Weft;
use Weft::Cluster;

use constant BROWSERS => 200;
use constant PART => 0.05; # of a core
use constant TURNS => 8;   # at most: a machine that is busy for a while spoils some

need(qw(nbdsrv volmgr volctl fio));
my $dir = temp_dir();
my $cluster = Weft::Cluster->new(dir => "$dir/c", servers => 3, ec => '2+1', size => '64M', volume => 'v');
at_end(sub { $cluster->kill });
$cluster->up;
my $pid = $cluster->pid('volmgr');

sub cpu_s { my @f = split(/ /, slurp("/proc/$pid/stat") =~ s/.*\) //sr); return ($f[11] + $f[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()) }

# Reads a second, and what volmgr takes of a processor for one, in microseconds.
sub reads
{
	my $before = cpu_s();
	my $got = json_decode((run_ok({ timeout => 120 }, tool('fio'), '--name=r', '--ioengine=nbd', '--uri=' . $cluster->uri,
		qw(--rw=randread --bs=4k --iodepth=8 --runtime=1 --time_based --size=64m --output-format=json))) =~ s/\A[^{]*//r);
	my $read = $got->{jobs}[0]{read};
	return ($read->{iops}, (cpu_s() - $before) / $read->{total_ios} * 1e6);
}

my (@streams, %events);
my $select = IO::Select->new;

# What comes, until each stream has had so many events more.
sub hear
{
	my ($more) = @_;
	my %want = map { $_ => ($events{$_} // 0) + $more } @streams;
	my $end = time + 60;
	while (grep { ($events{$_} // 0) < $want{$_} } @streams) {
		die "a browser hears nothing\n" if time > $end;
		for my $s ($select->can_read(1)) {
			sysread($s, my $part, 1 << 16) or die "a browser was let go of\n";
			$events{$s} += () = $part =~ /^event: live$/mg;
		}
	}
	return;
}

reads(); # what is there for the first time
my (@without, @with);
push(@without, [ reads() ]) for 1 .. 2;
for (1 .. BROWSERS) {
	my $s = IO::Socket::UNIX->new(Peer => $cluster->socket) or die $!;
	print $s "GET /api/v1/live HTTP/1.1\r\nHost: x\r\n\r\n";
	push(@streams, $s);
	$select->add($s);
}
hear(1);
is(scalar(keys %events), BROWSERS, BROWSERS . ' browsers listen');
my $before = cpu_s();
my $time = (POSIX::times())[0];
hear(2);
my $took = ((POSIX::times())[0] - $time) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
my $part = (cpu_s() - $before) / $took;
cmp_ok($part, '<', PART, sprintf('they take %.1f %% of a core', $part * 100));
# somebody has to listen while the client reads
my $ears = fork() // die "fork: $!";
if (!$ears) {
	Weft::die_with_parent();
	hear(1) while 1;
}
# a busy machine moves this much more than browsers do; what would block volmgr for them moves it by more
my $best = sub { my ($i, $sign, @runs) = @_; return (sort { $sign * ($a <=> $b) } map { $_->[$i] } @runs)[0] };
my ($fast, $slow, $alone, $beside);
for (1 .. TURNS) {
	push(@with, [ reads() ]);
	($fast, $slow) = ($best->(0, -1, @without), $best->(0, -1, @with));
	($alone, $beside) = ($best->(1, 1, @without), $best->(1, 1, @with));
	last if $slow > $fast / 2 && $beside < $alone * 1.5 + 5;
}
kill('KILL', $ears);
waitpid($ears, 0);
ok(eval { hear(1); 1 }, 'and none of them was let go of') or diag($@);
cmp_ok($slow, '>', $fast / 2, sprintf('a client reads beside them as before: %d and %d a second', $fast, $slow));
cmp_ok($beside, '<', $alone * 1.5 + 5, sprintf('each read takes volmgr %.1f us instead of %.1f', $beside, $alone));
done_testing();
