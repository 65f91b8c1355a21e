# Several things at once, each in a process of its own, so that a machine with more than one processor
# is not waited for.
package Weft::Pool;

use strict;
use warnings;

use Exporter qw(import);
use POSIX ();
use Weft;

our @EXPORT = qw(pool_run pool_jobs sanitized_ok);

use constant { JOBS_MAX => 4, LINES_MAX => 60 };

sub pool_jobs
{
	chomp(my $n = run_ok('nproc'));
	return $n > JOBS_MAX ? JOBS_MAX : $n;
}

# Calls $work->($item) for each item, so many at a time, in child processes; what it returns comes as
# $done->($item, $result), as soon as it is there. A result that is undef: the child did not end well.
sub pool_run
{
	my ($jobs, $work, $done, @items) = @_;
	my $dir = temp_dir();
	my (%running, $n);
	while (@items || %running) {
		while (@items && keys %running < $jobs) {
			my $item = shift @items;
			my $file = "$dir/" . ++$n;
			my $pid = fork() // die "fork: $!\n";
			if (!$pid) {
				Weft::die_with_parent();
				my $ok = eval { spew($file, json_encode($work->($item))); 1 };
				print STDERR "# $@" if !$ok;
				POSIX::_exit($ok ? 0 : 1);
			}
			$running{$pid} = [ $item, $file ];
		}
		my $pid = waitpid(-1, 0);
		die "a child is gone\n" if $pid <= 0;
		my $it = delete $running{$pid} // next;
		$done->($it->[0], $? == 0 ? json_decode(slurp($it->[1])) : undef);
	}
	return;
}

# Tests of a build with sanitizers: each must pass, and no process say anything. $env->(path) gives the
# environment in which reports go to files that begin so.
sub sanitized_ok
{
	my ($env, @tests) = @_;
	require Test::More;
	my $dir = temp_dir();
	my $work = sub {
		my ($test) = @_;
		my $to = "$dir/" . $test =~ s{/}{_}gr;
		my $began = time;
		my $got = run({ timeout => 400, env => $env->($to) }, $test);
		my $said = join('', map { slurp($_) } glob("$to*"));
		unlink(glob("$to*"));
		# why it died stands in no line of TAP
		my @lines = ((grep { /^not ok|^#/ } split(/\n/, $got->{out})), split(/\n/, $got->{err}));
		splice(@lines, 0, @lines - LINES_MAX) if @lines > LINES_MAX;
		return { status => $got->{status}, said => substr($said, 0, 6000), lines => join("\n", @lines), took => time - $began };
	};
	my $done = sub {
		my ($test, $got) = @_;
		(my $name = $test) =~ s{.*/t/}{};
		$got //= { status => -1, said => '', lines => 'it did not come to its end', took => 0 };
		Test::More::ok($got->{status} == 0 && $got->{said} eq '', "$name passes, and no process says anything")
		    or Test::More::diag("status $got->{status}\n$got->{said}\n$got->{lines}");
		Test::More::note("$name: $got->{took} s");
	};
	pool_run(pool_jobs(), $work, $done, @tests);
	return;
}

1;
