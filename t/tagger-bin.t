#!/usr/bin/perl
# tagger's bin: what is deleted lies there with who, where and when, is found by nothing, comes back, outlives a
# restart and a crash, and goes when it is old or space is short.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path remove_tree);
use Test::More;
use Weft;
use Weft::Tagger;

need(qw(tagger curl));
my $base = temp_dir();
my $dir = "$base/tree";
make_path("$dir/garden/roses");
spew("$dir/garden/roses/guide.txt", 'Roses need compost. Compost feeds roses. ' x 20);
spew("$dir/garden/heap.md", "# Compost\n\nA heap of compost.\n" x 8);
spew("$dir/garden/\xff.txt", 'a name that is not UTF-8');
spew("$dir/one.txt", 'one');
spew("$dir/three.txt", 'three');
link("$dir/one.txt", "$dir/two.txt") or die;
symlink('/etc/passwd', "$dir/link") or die;

my $tagger = Weft::Tagger->new(dir => $dir, base => $base);
$tagger->wait_idle();
sub bin { return $tagger->get('/bin', @_) }
sub binned { return map { $_->{path} } @{ bin()->{files} } }

sub remove
{
	my ($path, %more) = @_;
	my $got = $tagger->call('DELETE', '/file', { path => $path, %more }, undef, '-H', 'X-Weft-User: uma');
	die "$path: $got->{body}" if $got->{code} != 200;
	return json_decode($got->{body})->{bin};
}

sub restore { return $tagger->ask('POST', '/bin/restore', { id => $_[0] }) }

is_deeply([ bin()->{total}, bin()->{days} ], [ 0, 30 ], 'the bin is empty at first, and keeps for 30 days');

# ---- a file
$tagger->ask('POST', '/file/tags', { path => 'garden/heap.md' }, { add => ['worms'] });
my $size = -s "$dir/garden/heap.md";
my $id = remove('garden/heap.md');
ok(!-e "$dir/garden/heap.md", 'a file that is deleted is not at its place');
my ($e) = @{ bin()->{files} };
is_deeply([ @$e{qw(id name path by kind size)} ], [ $id, 'heap.md', 'garden/heap.md', 'uma', $e->{kind}, $size ], 'it is in the bin, with who did it');
ok(abs($e->{time} - time) < 60 && $e->{ends} - $e->{time} == 30 * 86400, 'when, and until when');
is_deeply($tagger->found('worms'), [], 'no search finds it');
is_deeply([ map { $_->{tag} } @{ $tagger->get('/suggest', q => 'worm')->{tags} } ], [], 'no suggestion comes from it');
is($tagger->call('GET', '/content', { path => ".weft/bin/$id/it" })->{code}, 404, 'and no path leads to it');
is(restore($id)->{path}, 'garden/heap.md', 'it is put back');
is(-s "$dir/garden/heap.md", $size, 'as it was');
is(bin()->{total}, 0, 'and is not in the bin any more');
$tagger->wait_for('its tags', sub { "@{ $tagger->found('worms') }" eq 'garden/heap.md' });
ok(!glob("$dir/.weft/bin/*"), 'nothing of it is left there');
is($tagger->call('POST', '/bin/restore', { id => $id })->{code}, 404, 'once');

# ---- the size of what grew a moment ago, by which others are let go when space is short
spew("$dir/grown.txt", 'a little');
$tagger->wait_for('a file', sub { @{ $tagger->found('name:grown') } == 1 });
open(my $grows, '>>', "$dir/grown.txt") or die; # it is looked at again when this is closed
syswrite($grows, 'much more ' x 100_000);
$id = remove('grown.txt');
is(bin()->{files}[0]{size}, 1_000_008, 'the size is that of now');
close($grows);
$tagger->ask('DELETE', '/bin', { id => $id });

# ---- names, links
$id = remove("garden/\xff.txt");
is(bin()->{files}[0]{href}, 'garden/%FF.txt', 'a name that is not UTF-8');
restore($id);
ok(-e "$dir/garden/\xff.txt", 'comes back exactly');
$id = remove('two.txt');
$tagger->wait_for('the other name', sub { $tagger->get('/file', path => 'one.txt') });
restore($id);
is((stat("$dir/one.txt"))[1], (stat("$dir/two.txt"))[1], 'another name of a file is still one');
$id = remove('link');
restore($id);
is(readlink("$dir/link"), '/etc/passwd', 'a link is not followed');

# ---- folders, what is in the way, what is missing
is($tagger->call('DELETE', '/file', { path => 'garden' })->{code}, 409, 'a folder with files needs to be meant');
my $roses = remove('garden/roses', recursive => 1);
my $garden = remove('garden', recursive => 1);
is_deeply([ binned() ], [ 'garden', 'garden/roses' ], 'folders, the newest first');
cmp_ok(bin()->{bytes}, '>', $size, 'with the size of all that is in them');
is_deeply($tagger->found('compost'), [], 'nothing in them is found');
is(restore($roses)->{path}, 'garden/roses', 'a folder whose folder is gone comes back');
ok(-e "$dir/garden/roses/guide.txt", 'in one that was made again');
$tagger->wait_for('its files', sub { "@{ $tagger->found('compost') }" =~ /guide/ });
is(restore($garden)->{path}, 'garden (2)', 'where something else is by now, it gets another name');
ok(-e "$dir/garden (2)/heap.md", 'and is whole');
$id = remove('three.txt');
spew("$dir/three.txt", 'newer');
is(restore($id)->{path}, 'three (2).txt', 'before the end of the name');
is(slurp("$dir/three.txt") . slurp("$dir/three (2).txt"), 'newerthree', 'nothing is lost');

# ---- for good
$tagger->wait_idle();
$tagger->wait_for('both', sub { @{ $tagger->found('name:three') } == 2 });
$id = remove('three (2).txt');
is($tagger->call('DELETE', '/bin', { id => '../upload' })->{code}, 404, 'what is not in the bin is not deleted');
is($tagger->call('DELETE', '/bin', {})->{code}, 404, 'nor everything by mistake');
$tagger->ask('DELETE', '/bin', { id => $id });
remove('three.txt');
$tagger->ask('DELETE', '/bin', { all => 1 });
is(bin()->{total}, 0, 'one, or all, are deleted for good');
wait_until('an empty trash', 60, sub { !glob("$dir/.weft/trash/*") && !glob("$dir/.weft/bin/*") });
is(remove('link', forever => 1), undef, 'or at once');
is(bin()->{total}, 0, 'without the bin');

# ---- restart, crash
$id = remove('garden (2)', recursive => 1);
my $other = remove('garden/roses/guide.txt');
make_path("$dir/.weft/bin/00000000ffff-00000000-00000001", "$dir/.weft/bin/00000000fffe-00000000-00000001", "$dir/.weft/trash");
spew("$dir/.weft/bin/00000000ffff-00000000-00000001/note", '{"path": "never/moved"}');
spew("$dir/.weft/bin/00000000fffe-00000000-00000001/it", 'without a note');
utime(time, time, "$dir/.weft/bin/00000000fffe-00000000-00000001/it");
$tagger->stop('KILL');
$tagger->start();
$tagger->wait_for('the bin', sub { bin() });
is_deeply([ binned() ], [ 'garden/roses/guide.txt', 'garden (2)', 'found-00000000fffe-00000000-00000001' ], 'the bin outlives a crash');
ok(!-e "$dir/.weft/bin/00000000ffff-00000000-00000001", 'what was not moved yet leaves nothing');
is(restore('00000000fffe-00000000-00000001')->{path}, 'found-00000000fffe-00000000-00000001', 'a file whose note is lost is not');
restore($id);
ok(-e "$dir/garden (2)/heap.md", 'it is put back after that, too');

# a note that leads elsewhere
spew("$dir/.weft/bin/$other/note", '{"path": "../outside.txt"}');
$tagger->stop();
$tagger->start();
$tagger->wait_for('the bin', sub { bin() });
is($tagger->call('POST', '/bin/restore', { id => $other })->{code}, 400, 'a note cannot lead out of the tree');
ok(!-e "$base/outside.txt" && bin()->{total} == 1, 'it stays where it is');

# ---- old ones go
spew("$dir/.weft/bin/$other/note", json_encode({ path => 'old.txt', time => time - 31 * 86400 }));
for my $n (1 .. 3) { # their sizes are no sum that there is
	make_path("$dir/.weft/bin/00000000aaa$n-00000000-00000001");
	spew("$dir/.weft/bin/00000000aaa$n-00000000-00000001/it", 'small');
	spew("$dir/.weft/bin/00000000aaa$n-00000000-00000001/note", json_encode({ path => "vast-$n.txt", time => 1, size => 9223372036854775807 }));
}
$id = remove('garden (2)/heap.md');
$tagger->stop();
$tagger->start();
$tagger->wait_for('the end of what is old', sub { "@{[ binned() ]}" eq 'garden (2)/heap.md' });
pass('what is older than it is kept goes');
$tagger->stop();

# ---- a small file system: the oldest go when space is short
SKIP: {
	skip('a file system of its own needs root', 6) if $> != 0;
	mkdir("$base/small");
	skip('no tmpfs here', 6) if run('mount', '-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', "$base/small")->{status} != 0;
	at_end(sub { run('umount', '-l', "$base/small") });
	mkdir("$base/b2");
	my $small = Weft::Tagger->new(dir => "$base/small", base => "$base/b2");
	spew("$base/small/$_.bin", 'x' x (9 << 20)) for 1 .. 3;
	$small->wait_for('the files', sub { @{ $small->found('name:bin') } == 3 });
	open(my $held, '<', "$base/small/1.bin") or die; # as what still reads it does
	for (1 .. 3) {
		$small->ask('DELETE', '/file', { path => "$_.bin" });
	}
	is($small->get('/bin')->{total}, 3, 'with room all stay');
	spew("$base/small/more", 'x' x (11 << 20));
	my $piece = 'y' x (4 << 20);
	is($small->call('PUT', '/upload', { path => 'up.bin', size => length($piece), offset => 0 }, $piece)->{code}, 507, 'without, an upload is refused');
	$small->wait_for('the oldest to go', sub { $small->get('/bin')->{total} == 2 });
	is($small->call('PUT', '/upload', { path => 'other.bin', size => length($piece), offset => 0 }, $piece)->{code}, 507, 'its space comes when it is closed') for 1 .. 3;
	close($held);
	my $offset = 0;
	$small->wait_for('room for it', sub {
		$offset = $small->get('/upload', path => 'up.bin', size => length($piece))->{offset};
		$small->call('PUT', '/upload', { path => 'up.bin', size => length($piece), offset => $offset }, substr($piece, $offset))->{code} == 200;
	});
	is($small->get('/bin')->{files}[-1]{path}, '2.bin', 'the oldest makes room, and no more than that');
	$small->stop();
}
done_testing();
