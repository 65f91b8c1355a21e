#!/usr/bin/perl
# tagger and a world that does not do as it should: a full file system, a damaged index, files that
# may not be read, a volume unmounted underneath; and who may ask it over TCP.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path);
use Test::More;
use Weft;
use Weft::Tagger;

need(qw(tagger curl));
my $base = temp_dir();
my $dir = "$base/tree";

sub some_files
{
	my ($to, $from, $n) = @_;
	make_path($to);
	spew("$to/file$_.txt", "This is text number $_ about lighthouses. Lighthouses shine at sea. " x 5) for $from .. $from + $n - 1;
	return;
}

sub names { return join(' ', sort map { $_->{name} } grep { $_->{kind} ne 'folder' } @{ $_[0]->get('/folder', limit => 1000)->{files} }) }
sub on_disk { return join(' ', sort map { s{.*/}{}r } grep { -f } glob("$dir/*")) }

# ---- a damaged index
some_files($dir, 1, 60);
my $tagger = Weft::Tagger->new(dir => $dir, base => $base);
$tagger->wait_idle();
$tagger->ask('POST', '/file/tags', { path => 'file7.txt' }, { add => ['keeper'] });
my @damage = (
	[ 'a torn log', sub { truncate($_, (-s $_) / 2) for glob("$base/index/*.log") } ],
	[ 'a log of garbage', sub { damage($_) for glob("$base/index/*.log") } ],
	[ 'tables of garbage', sub { damage($_) for glob("$base/index/*.ldb") } ],
	[ 'no manifest', sub { unlink(glob("$base/index/MANIFEST-*")) } ],
	[ 'no name of the manifest', sub { unlink("$base/index/CURRENT") } ],
);

sub damage
{
	my ($path) = @_;
	open(my $fh, '+<:raw', $path) or die "$path: $!";
	seek($fh, (-s $path) / 3, 0);
	print $fh 'garbage ' x 100;
	close($fh) or die;
	return;
}

for my $damage (@damage) {
	$tagger->stop();
	$damage->[1]->();
	$tagger->start();
	$tagger->wait_idle();
	is(names($tagger), on_disk(), "$damage->[0]: all files are there again");
	is_deeply($tagger->found('is:waiting'), [], 'and were read');
	is_deeply($tagger->found('tag:keeper'), ['file7.txt'], 'a tag by hand is kept');
}
$tagger->stop();
my $other = run(program('tagger'), '--once', '--index', "$base/index", '/usr/share/doc/libc6');
like($other->{err}, qr/another folder/, 'the index of another folder is refused');
is($other->{status}, 1, 'with 1');

# ---- over TCP
spew("$base/token", "0123456789abcdef0123\n");
chmod(0600, "$base/token");
$tagger->{args} = [ '--listen', 'tcp:127.0.0.1:0', '--token-file', "$base/token" ];
$tagger->start();
my $url = 'http://' . $tagger->{daemon}{http} =~ s/^tcp://r . '/api/v1/status';
my $code = sub { return run('curl', '-s', '-o', "$base/body", '-w', '%{http_code}', @_)->{out} };
is($code->($url), 401, 'without the token nothing is told');
is($code->('-H', 'Authorization: Bearer 0123456789abcdef0124', $url), 401, 'nor with another');
is($code->('-H', 'Authorization: Bearer 0123456789abcdef0123', $url), 200, 'with it all is');
is($code->('-H', 'Authorization: Bearer 0123456789abcdef0123', '-H', 'X-Weft-Role: read_only', '-X', 'POST',
	$url =~ s/status/mkdir?path=x/r), 403, 'a reader changes nothing');
$tagger->stop();
chmod(0644, "$base/token");
like(run(program('tagger'), @{ $tagger->{args} }, '--index', "$base/index", '--socket', "$base/sock", $dir)->{err},
	qr/can be read by others/, 'a token that others can read is refused');
$tagger->{args} = [];

SKIP: {
	skip('this needs root', 8) if $> != 0;

	# ---- files that may not be read
	make_path("$base/nobody", "$dir/closed");
	some_files("$dir/closed", 1, 3);
	chmod(0000, "$dir/file1.txt");
	chmod(0700, $dir, $base, "$dir/closed");
	chmod(0755, $dir, $base);
	chown(65534, 65534, "$base/nobody");
	my $got = run(tool('setpriv') // 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', program('tagger'), '--once',
		'--workers-dir', build_dir() . '/tagger/worker', '--index', "$base/nobody/index", $dir);
	is($got->{status}, 0, 'without rights tagger reads what it may') or diag($got->{err});
	my @cli = (program('tagger'), '--socket', 'none', '--index', "$base/nobody/index", 'query');
	is(run(@cli, 'is:failed')->{out}, "file1.txt\n", 'what may not be read is failed');
	is(run(@cli, 'name:closed')->{out}, "closed\n", 'and a closed folder is a node');
	chmod(0644, "$dir/file1.txt");

	# ---- a full file system
	make_path("$base/small");
	run_ok('mount', '-t', 'tmpfs', '-o', 'size=3M', 'weft-test', "$base/small");
	make_path("$base/full");
	my $full = Weft::Tagger->new(dir => $dir, base => "$base/full", args => [ "--index", "$base/small/index" ]);
	$full->wait_idle();
	open(my $fill, '>', "$base/small/filler") or die;
	$fill->autoflush(1);
	1 while syswrite($fill, 'x' x 4096);
	close($fill);
	some_files($dir, 100, 300);
	$full->wait_for('a full file system', sub { $full->get('/status')->{stuck} });
	pass('a full file system is noticed, and tagger lives');
	cmp_ok($full->get('/search', q => 'lighthouses')->{total}, '>', 0, 'and answers');
	unlink("$base/small/filler");
	$full->wait_for('room', sub { !$full->get('/status')->{stuck} });
	$full->wait_idle();
	is(names($full), on_disk(), 'with room again it goes on');
	$full->stop();
	run_ok('umount', "$base/small");

	# ---- unmounted underneath
	make_path("$base/mnt");
	run_ok('mount', '-t', 'tmpfs', 'weft-test', "$base/mnt");
	some_files("$base/mnt", 1, 5);
	make_path("$base/away");
	my $away = Weft::Tagger->new(dir => "$base/mnt", base => "$base/away");
	$away->wait_idle();
	like($away->get('/status')->{follows}, qr/file system/, 'a mounted file system is followed as a whole') or diag($away->get('/status')->{follows});
	run_ok('umount', '-l', "$base/mnt");
	ok(pid_wait($away->{daemon}{pid}, 60), 'unmounted underneath, tagger ends');
	is(scalar(split(/\n/, run(program('tagger'), '--socket', 'none', '--index', "$base/away/index", 'query', 'is:file')->{out})), 5,
		'and its index keeps all files');
}
done_testing();
