#!/usr/bin/perl
# The harness itself: what it promises the other tests, above all that waiting ends.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Time::HiRes qw(time);
use Weft;
use Weft::Cluster;

sub dies_with
{
	my ($fn, $like, $name) = @_;
	my $done = eval { $fn->(); 1 };
	like($done ? 'it did not die' : $@, $like, $name);
	return;
}

my $dir = temp_dir();

# run
is_deeply(run({ stdin => "in\n" }, 'sh', '-c', 'cat; echo err >&2; exit 3'),
	{ status => 3, timed_out => 0, out => "in\n", err => "err\n" }, 'run gives code, output, errors');
is(run('sh', '-c', 'kill -9 $$')->{status}, 137, 'a signal is 128 + its number');
is(run('/nonexistent/program')->{status}, 127, 'a program that is not there is 127');
my $begin = time;
my $late = run({ timeout => 1 }, 'sh', '-c', 'sleep 60 & sleep 60');
ok($late->{timed_out} && $late->{status} == 124, 'a command that takes too long is ended');
cmp_ok(time - $begin, '<', 50, 'at its limit, its children too');
is(run({ env => { WEFT_X => 'y' }, dir => $dir }, 'sh', '-c', 'echo $WEFT_X; pwd')->{out},
	"y\n$dir\n", 'folder and environment are set');
dies_with(sub { run_ok('false') }, qr/'false' failed with 1/, 'run_ok dies of a failure');

# waiting
dies_with(sub { wait_until('nothing', 0.2, sub { 0 }) }, qr/waited 0\.2 s in vain for nothing/,
	'wait_until dies at its limit');
pipe(my $r, my $w) or die;
dies_with(sub { line_read($r, 0.2) }, qr/in vain for a line/, 'so does line_read');
my $sleeper = fork();
if (!$sleeper) { exec('sleep', '60') }
is(pid_wait($sleeper, 0.2), 0, 'so does pid_wait');
kill('KILL', $sleeper);
is(pid_wait($sleeper, 60), 1, 'pid_wait sees the end of a process');
ok(!pid_alive($sleeper), 'which is then not alive');

# daemons
sub fake
{
	my ($script, %opt) = @_;
	return daemon_start(name => 'fake', log => "$dir/fake.log", argv => [ 'bash', '-c', $script, 'fake' ],
		%opt);
}
my $ready = 'eval "echo listen=tcp:127.0.0.1:1 >&$2; echo http=h >&$2; exec $2>&-";';
my $daemon = fake("$ready exec sleep 60");
is_deeply([ $daemon->{listen}, $daemon->{http} ], [ ['tcp:127.0.0.1:1'], 'h' ],
	'a daemon tells where it listens');
ok(pid_alive($daemon->{pid}), 'and runs');
daemon_stop($daemon);
ok(!pid_alive($daemon->{pid}), 'and is stopped');
$daemon = fake("$ready exec sleep 60", detach => 1);
ok(pid_alive($daemon->{pid}), 'one that is to outlive us runs');
daemon_stop($daemon, 'KILL');
dies_with(sub { fake('echo sorry >&2; exit 1') }, qr/ended before it was ready.*sorry/s,
	'one that ends at once is an error with its words');
dies_with(sub { fake('exec sleep 60', timeout => 1) }, qr/in vain/, 'so is one that never gets ready');
$daemon = fake("trap '' TERM; $ready while :; do sleep 1; done");
dies_with(sub { daemon_stop($daemon, 'TERM', 0.5) }, qr/did not stop/, 'and one that does not stop');
ok(!pid_alive($daemon->{pid}), 'which is ended all the same');

# sizes, command line
is(parse_size('1.5G'), 3 << 29, 'sizes have fractions and units');
is(parse_size('4096'), 4096, 'or are plain bytes');
dies_with(sub { parse_size('many') }, qr/is not a size/, 'other words are not sizes');
is(run("$FindBin::RealBin/cluster", 'status', '--dir', "$dir/none")->{status}, 1,
	't/cluster without a cluster fails');
dies_with(sub { Weft::Cluster->new(dir => '/tmp/' . 'x' x 100) }, qr/choose a shorter/,
	'a folder too long for sockets is refused');

# what ends a test is later than the ends that it sets itself, so that these are told
for my $test (glob(src_dir() . '/t/*.t')) {
	my ($longest) = sort { $b <=> $a } slurp($test) =~ m{\btimeout => (\d+)}g;
	next if ($longest // 0) < 240;
	chomp(my $limit = run(src_dir() . '/t/limit', '-n', $test)->{out});
	cmp_ok($longest, '<', $limit, ($test =~ s{.*/}{}r) . ' is ended by itself first');
}
done_testing();
