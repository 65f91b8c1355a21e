#!/usr/bin/perl
# tagger on a volume that hangs: what needs the volume waits, what the index answers does not; and when it
# goes on, everything that waited is answered as if nothing had been.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path);
use Test::More;
use Weft;
use Weft::Tagger;

need(qw(tagger curl));
my $hang = build_dir() . '/t/tools/hang';
plan(skip_all => 't/tools/hang is not built') if !-x $hang;
plan(skip_all => 'this needs root') if $> != 0;
my $base = temp_dir();
my $dir = "$base/tree";
make_path("$dir/slow", "$dir/quick");
my $film = join('', map { pack('N', $_ * 2654435761 % 4294967296) } 1 .. 250_000);
spew("$dir/quick/film.bin", $film);
spew("$dir/quick/lighthouse.txt", 'Lighthouses shine at sea. Sailors look for lighthouses. ' x 10);
spew("$dir/quick/lighthouse-two.txt", 'Lighthouses shine at sea. Captains look for lighthouses. ' x 10);

my $tagger = Weft::Tagger->new(dir => $dir, base => $base, args => ['--no-prefetch']);
$tagger->wait_idle();

# ---- it hangs; uploads where nothing but uploads looks: indexing opens what has changed on the loop
make_path("$dir/.weft/upload");
my $hang_pid = open(my $said, '-|', $hang, "$dir/quick/film.bin", "$dir/.weft/upload") or die "$hang: $!\n";
END { kill('KILL', $hang_pid) if $hang_pid }
my $line = <$said>;
if (!defined $line) {
	close($said);
	undef $hang_pid;
	plan(skip_all => 'this kernel cannot make a file hang');
}
is($line, "hangs\n", 'the volume hangs');

my %pid;
sub in_background
{
	my ($name, @argv) = @_;
	$pid{$name} = fork() // die "fork: $!\n";
	return if $pid{$name};
	exec('curl', '-s', '-m', 120, '--unix-socket', "$base/sock", '-o', "$base/$name", '-w', '', @argv) or POSIX::_exit(126);
}

sub running { my ($n) = @_; return $tagger->wait_for("$n that wait for the volume", sub { $tagger->get('/status')->{aside}{running} >= $n }) }

in_background('film', 'http://tagger/content?path=quick/film.bin');
running(1);
in_background('tar', 'http://tagger/archive?path=quick');
running(2);
in_background('left', 'http://tagger/content?path=quick/film.bin');
running(3);
spew("$base/piece", 'treasure ' x 1000);
in_background('upload', '-T', "$base/piece", 'http://tagger/upload?path=slow/treasure.txt&size=9000&offset=0');
running(4);
in_background('mkdir', '-X', 'POST', 'http://tagger/mkdir?path=quick/new');
in_background('tags', '-X', 'POST', '--data', '{"add":["keeper"]}', 'http://tagger/file/tags?path=quick/film.bin');
$tagger->wait_for('two changes that wait', sub { $tagger->get('/status')->{aside}{waiting} >= 2 });
pass('content, an archive, an upload and changes wait');
is_deeply($tagger->found('tag:lighthouses'), [ 'quick/lighthouse-two.txt', 'quick/lighthouse.txt' ], 'searches are answered');
like($tagger->get('/suggest', q => 'lighth')->{tags}[0]{tag}, qr{^lighthouse}, 'and suggestions');
is($tagger->get('/neighbours', path => 'quick/lighthouse.txt')->{files}[0]{path}, 'quick/lighthouse-two.txt', 'and relations');
is($tagger->call('GET', '/content', { path => 'quick/lighthouse.txt' })->{code}, 200, 'and other files are read');
ok(!-e "$dir/quick/new", 'the change was not made meanwhile');

# ---- a client goes while its file hangs
kill('KILL', $pid{left});
waitpid(delete $pid{left}, 0);
$tagger->wait_for('four that hang still', sub { $tagger->get('/status')->{aside}{running} == 4 });
pass('a client goes away, its thread cannot yet');

# ---- it goes on
kill('KILL', $hang_pid);
waitpid($hang_pid, 0);
undef $hang_pid;
for my $name (sort keys %pid) {
	ok(pid_wait($pid{$name}, 60), "$name: is answered when the volume goes on");
}
ok(slurp("$base/film") eq $film, 'with all of the content');
ok(run_ok("tar", "xOf", "$base/tar", "quick/film.bin") eq $film, "in the archive, too");
is(slurp("$dir/slow/treasure.txt"), 'treasure ' x 1000, 'the upload is whole');
ok(-d "$dir/quick/new", 'the change is made');
is_deeply($tagger->found('tag:keeper'), ['quick/film.bin'], 'the tag is kept');
$tagger->wait_for('the upload in the index', sub { @{ $tagger->found('tag:treasure') } });
$tagger->wait_for('no more work', sub { my $a = $tagger->get('/status')->{aside}; !$a->{running} && !$a->{waiting} });
$tagger->stop();
pass('and it ends in order');
done_testing();
