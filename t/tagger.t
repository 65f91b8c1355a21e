#!/usr/bin/perl
# tagger on a small tree: what it finds, follows, answers and changes.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Cwd ();
use File::Path qw(make_path);
use POSIX ();
use Test::More;
use Weft;
use Weft::Tagger;

need(qw(tagger curl));
my $base = temp_dir();
my $dir = "$base/tree";
make_path("$dir/garden/roses", "$dir/cars", "$dir/deep");
# deeper than a path may be
my $cwd = Cwd::getcwd();
chdir("$dir/deep") or die;
for (1 .. 30) {
	mkdir("d" x 200) or die;
	chdir("d" x 200) or die;
}
spew("bottom.txt", "Far down lies treasure. Treasure is far down. " x 10);
chdir($cwd) or die;
my $words = "Roses need compost and pruning. Compost feeds roses. Pruning roses in spring keeps roses healthy. ";
spew("$dir/garden/roses/pruning-guide.txt", $words x 8);
spew("$dir/garden/compost.md", "# Compost for roses\n\n" . $words x 6 . "\nSee [the guide](roses/pruning-guide.txt).\n");
spew("$dir/cars/engine.txt", "The engine needs oil. Oil filters clean engine oil. Pistons move in the engine. " x 8);
spew("$dir/cars/copy.txt", "The engine needs oil. Oil filters clean engine oil. Pistons move in the engine. " x 8);
spew("$dir/empty", '');
spew("$dir/new\nline.txt", 'a name of two lines');
spew("$dir/\xff\xfe.txt", 'a name that is not UTF-8');
spew("$dir/" . 'n' x 251, 'a long name');
POSIX::mkfifo("$dir/pipe", 0600) or die;
symlink('/etc/passwd', "$dir/outside");
open(my $sparse, '>', "$dir/sparse.bin") or die;
truncate($sparse, 1 << 32) or die;
close($sparse);

my $tagger = Weft::Tagger->new(dir => $dir, base => $base);
my $status = $tagger->wait_idle();
my $entries = run_ok('find', $dir, '-mindepth', 1, '-printf', '.');
is($status->{files} + $status->{folders}, length($entries) + 1, 'all that is in the tree is in the index');
like($status->{follows}, qr/notify/, "changes are followed by $status->{follows}");

# ---- search
is_deeply($tagger->found('roses'), [ 'garden/compost.md', 'garden/roses', 'garden/roses/pruning-guide.txt' ],
	'a word is found in texts and names');
is_deeply($tagger->found('roses -kind:folder name:guide'), ['garden/roses/pruning-guide.txt'], 'AND, NOT, part of a name');
is_deeply($tagger->found('name:guide | name:engine'), [ 'cars/engine.txt', 'garden/roses/pruning-guide.txt' ], 'OR');
is_deeply($tagger->found('in:cars (oil OR roses)'), [ 'cars/copy.txt', 'cars/engine.txt' ], 'brackets and folders');
is_deeply($tagger->found('size:>1G'), ['sparse.bin'], 'sizes');
is_deeply($tagger->found('date:<2000'), [], 'dates');
is_deeply($tagger->found('kind:special'), ['pipe'], 'a FIFO is a node, and was not opened');
is(scalar(@{ $tagger->found("tag:treasure") }), 1, "a file is found below a path of 6000 bytes");
is_deeply($tagger->found('kind:link'), ['outside'], 'a link is a node, and was not followed');
is($tagger->call('GET', '/search', { q => '(roses' })->{code}, 400, 'a bad search is refused');
is($tagger->get('/search', q => '', limit => 1)->{total}, $status->{files} + $status->{folders} - 1,
	'an empty one finds everything but the root');
is($tagger->get('/suggest', q => 'compo')->{tags}[0]{tag}, 'compost', 'suggestions by prefix');
ok((grep { $_->{tag} eq 'compost' } @{ $tagger->get('/suggest', q => 'mpos')->{tags} }), 'and by a part');

# ---- names
my ($odd) = grep { $_->{name} =~ /\xef\xbf\xbd/ } @{ $tagger->get('/folder')->{files} };
is($odd->{href}, '%FF%FE.txt', 'a name that is not UTF-8 has an exact form');
my $got = $tagger->call('GET', '/content', { path => "\xff\xfe.txt" });
is($got->{body}, 'a name that is not UTF-8', 'by which it can be read');
is($tagger->get('/file', path => "new\nline.txt")->{name}, "new\nline.txt", 'a name of two lines');

# ---- relations
my $near = $tagger->get('/neighbours', path => 'garden/compost.md');
is($near->{files}[0]{path}, 'garden/roses/pruning-guide.txt', 'the nearest file is the one that it links to');
ok((grep { $_ eq 'link' } @{ $near->{files}[0]{why} }), 'which is said');
$near = $tagger->get('/neighbours', path => 'cars/engine.txt');
is($near->{files}[0]{path}, 'cars/copy.txt', 'a copy is nearest');
ok((grep { $_ eq 'text' } @{ $near->{files}[0]{why} }), 'as its text is the same');
my $graph = $tagger->get('/graph', path => 'garden/compost.md', nodes => 20);
cmp_ok(@{ $graph->{nodes} }, '>', 2, 'a graph has nodes');
ok((grep { defined $_->{tag} } @{ $graph->{nodes} }), 'tags among them');
is((grep { $_->{from} >= @{ $graph->{nodes} } || $_->{to} >= @{ $graph->{nodes} } } @{ $graph->{edges} }), 0,
	'and edges between them');
is($tagger->get('/graph', tag => 'compost')->{nodes}[0]{tag}, 'compost', 'around a tag, too');
my $whole = $tagger->get('/graph', whole => 1);
ok((grep { ($_->{path} // '') eq 'garden/compost.md' } @{ $whole->{nodes} }), 'the graph of everything has each file');
cmp_ok($whole->{files}, '>=', (grep { defined $_->{id} } @{ $whole->{nodes} }) + 0, 'and says how many there are');
is((grep { !defined $whole->{nodes}[ $_->[0] ]{tag} || !defined $whole->{nodes}[ $_->[1] ]{id} } @{ $whole->{edges} }), 0, 'its lines go from tags to files');
my %links;
$links{ $_->[1] }++ for @{ $whole->{edges} };
ok(%links && !(grep { $_ > 3 } values %links), 'a few for each');
for my $sort (qw(largest smallest)) {
	my @sizes = map { $_->{size} } grep { $_->{kind} ne 'folder' } @{ $tagger->get('/folder', sort => $sort)->{files} };
	is("@sizes", join(' ', sort { $sort eq 'largest' ? $b <=> $a : $a <=> $b } @sizes), "a folder, the $sort first") if cmp_ok($sizes[0], '!=', $sizes[-1], 'files of several sizes');
}
my $some = $tagger->get('/graph', whole => 1, q => 'in:garden');
is_deeply([ grep { !m{^garden/} } map { $_->{path} // () } @{ $some->{nodes} } ], [], 'the graph of a search has what it finds');
is($some->{files}, $tagger->get('/search', q => 'in:garden')->{total}, 'and says how many that are');
cmp_ok(@{ $tagger->get('/graph', whole => 1, nodes => 10)->{nodes} }, '<=', 10, 'and it is no larger than one wants');

# ---- following
my $id = $tagger->get('/file', path => 'garden/compost.md')->{id};
my $done = $tagger->get('/status')->{done};
rename("$dir/garden", "$dir/park") or die;
$tagger->wait_for('a renamed folder', sub { $tagger->get('/file', path => 'park/compost.md') });
is($tagger->get('/file', path => 'park/compost.md')->{id}, $id, 'after renaming a folder a file is the same');
rename("$dir/park/compost.md", "$dir/cars/heap.md") or die;
$tagger->wait_for('a moved file', sub { $tagger->get('/file', path => 'cars/heap.md') });
is($tagger->get('/file', path => 'cars/heap.md')->{id}, $id, 'and after moving it');
ok($tagger->tags('cars/heap.md')->{compost}, 'with its tags');
$tagger->wait_idle();
is($tagger->get('/status')->{done}, $done, 'and nothing was read again');
ok($tagger->tags('park/roses/pruning-guide.txt')->{park}, 'tags of folders follow');
spew("$dir/cars/zeppelin.txt", 'Zeppelins are airships. Airships fly. ' x 10);
$tagger->wait_for('a new file', sub { @{ $tagger->found('tag:airships') } });
unlink("$dir/cars/zeppelin.txt");
$tagger->wait_for('the end of a file', sub { !@{ $tagger->found('zeppelin') } });
make_path("$base/else/nested");
spew("$base/else/nested/violin.txt", 'A violin has strings. Violin strings sing. ' x 10);
rename("$base/else", "$dir/else") or die;
$tagger->wait_for('a folder moved in', sub { @{ $tagger->found('violin in:else') } });
rename("$dir/else", "$base/else") or die;
$tagger->wait_for('a folder moved out', sub { !@{ $tagger->found('violin') } });

# ---- tags by hand
run_ok(program('tagger'), '--socket', "$base/sock", 'tag', 'add', "$dir/cars/engine.txt", 'Project X', 'motor');
is($tagger->tags('cars/engine.txt')->{'project x'}{source}, 'hand', 'a tag by hand');
is_deeply($tagger->found('"project x"'), ['cars/engine.txt'], 'is found');
like(run('getfattr', '--only-values', '-n', 'user.weft.tags', "$dir/cars/engine.txt")->{out}, qr/^\+project x$/m,
	'and is in an attribute of the file') if tool('getfattr');
run_ok(program('tagger'), '--socket', "$base/sock", 'tag', 'remove', "$dir/cars/engine.txt", 'oil', 'motor');
ok(!$tagger->tags('cars/engine.txt')->{oil}, 'a tag that was found is not wanted');
ok(!$tagger->tags('cars/engine.txt')->{motor}, 'nor one by hand');
spew("$dir/cars/engine2.txt", slurp("$dir/cars/engine.txt") . 'One more oil line about oil.');
run_ok('setfattr', '-n', 'user.weft.tags', '-v', "-oil\n+project x\n", "$dir/cars/engine2.txt") if tool('setfattr');
is($tagger->ask('POST', '/tags/rename', {}, { from => 'project x', to => 'project y' })->{files} > 0, 1, 'a tag is renamed');
$tagger->wait_for('the renamed tag', sub { "@{ $tagger->found('tag:\"project y\"') }" =~ m{cars/engine.txt} });
is_deeply($tagger->found('tag:"project x"'), [], 'in all files');
my ($phrase) = grep { $_->{source} eq "phrase" && $_->{tag} ne "oil" } @{ $tagger->get("/file", path => "cars/copy.txt")->{tags} };
is($tagger->ask("DELETE", "/tags", { tag => $phrase->{tag} })->{files} > 0, 1, "a tag is deleted");
$tagger->wait_for("the end of a tag", sub { !@{ $tagger->found("tag:\"$phrase->{tag}\"") } });

is($tagger->call('POST', '/file/tags', { path => '' }, '{"add":["all of it"]}')->{code}, 200, 'the root can have tags, too');
is_deeply([ sort { $a cmp $b } map { $_->{code} } map { $tagger->call('POST', '/file/tags', { path => 'cars/copy.txt' }, $_) }
	'{"add":[5]}', '{"add":"x"}', '[]' ], [ 400, 400, 400 ], 'what is no list of tags is refused');

# ---- content
$got = $tagger->call('GET', '/content', { path => 'cars/engine.txt' });
is($got->{body}, slurp("$dir/cars/engine.txt"), 'content');
$got = $tagger->call('GET', '/content', { path => 'cars/engine.txt' }, undef, '-r', '4-9');
is("$got->{code} $got->{body}", '206 engine', 'a part of it');
is($tagger->call('GET', '/content', { path => 'cars/engine.txt' }, undef, '-r', '99999-')->{code}, 416, 'not beyond its end');
$got = $tagger->call('HEAD', '/content', { path => 'sparse.bin' });
like($got->{headers}, qr/^Content-Length: 4294967296\r$/mi, 'its size');
is($tagger->call('GET', '/content', { path => $_ })->{code}, 404, "$_ is not there")
    for '../log', '/etc/passwd', 'cars/../../log', '.weft', 'outside/x';
isnt($tagger->call('GET', '/content', { path => $_ })->{code}, 200, "$_ is not given out") for 'outside', 'pipe', 'cars';

# ---- changes by the API
my $data = join('', map { chr(rand(256)) } 1 .. 300_000);
my @piece = unpack('(a100000)*', $data);
is($tagger->ask('PUT', '/upload', { path => 'cars/up.bin', size => 300_000, offset => 0 }, undef)->{offset}, 0, 'an upload');
$got = $tagger->call('PUT', '/upload', { path => 'cars/up.bin', size => 300_000, offset => 0 }, $piece[0]);
is(json_decode($got->{body})->{offset}, 100_000, 'a piece of it');
is($tagger->call('PUT', '/upload', { path => 'cars/up.bin', size => 300_000, offset => 0 }, $piece[0])->{code}, 409,
	'not twice');
$tagger->stop();
$tagger->start();
is($tagger->get('/upload', path => 'cars/up.bin', size => 300_000)->{offset}, 100_000, 'it goes on after a restart');
ok(!-e "$dir/cars/up.bin", 'and is not there before it is whole');
$tagger->call('PUT', '/upload', { path => 'cars/up.bin', size => 300_000, offset => $_ * 100_000 }, $piece[$_]) for 1, 2;
is(slurp("$dir/cars/up.bin"), $data, 'then it is');
is($tagger->call('PUT', '/upload', { path => 'cars/up.bin', size => 1, offset => 0 }, 'x')->{code}, 409, 'it is not replaced');
is($tagger->call('PUT', '/upload', { path => 'cars/up.bin', size => 9, offset => 0 }, 'first')->{code}, 409, 'which the first piece says');
is($tagger->call('PUT', '/upload', { path => 'none/up.bin', size => 9, offset => 0 }, 'first')->{code}, 404, 'as that there is no folder');
is($tagger->call('PUT', '/upload', { path => 'cars/copy.txt', size => 3, offset => 0, replace => 1 }, 'new')->{code}, 200, 'unless it is to be');
is(slurp("$dir/cars/copy.txt"), 'new', 'then it is new');
is($tagger->ask('POST', '/mkdir', { path => 'cars/new' })->{kind}, 'folder', 'a folder is made');
is($tagger->call('POST', '/mkdir', { path => 'cars/new' })->{code}, 409, 'once');
is($tagger->call('POST', '/mkdir', { path => $_ })->{code} =~ /^40/, 1, "not as $_") for '../x', '.weft', 'cars/..', 'none/x', '';
is($tagger->ask('POST', '/move', { path => 'cars/up.bin', to => 'cars/new/down.bin' })->{path}, 'cars/new/down.bin', 'a file is moved');
ok(-e "$dir/cars/new/down.bin" && !-e "$dir/cars/up.bin", 'on disk');
is($tagger->call('POST', '/move', { path => 'cars', to => 'cars/new/cars' })->{code}, 400, 'not into itself');
is($tagger->call('POST', '/move', { path => 'cars/engine.txt', to => 'cars/copy.txt' })->{code}, 409, 'not over another');
is($tagger->call('DELETE', '/file', { path => 'cars' })->{code}, 409, 'a folder with files is not deleted');
my $tar = $tagger->call('GET', '/archive', { path => 'cars' });
spew("$base/a.tar", $tar->{body});
like(run_ok('tar', 'tf', "$base/a.tar"), qr{^cars/new/down\.bin$}m, 'an archive');
$tagger->ask('DELETE', '/file', { path => 'cars', recursive => 1 });
ok(!-e "$dir/cars", 'unless all of it is meant');
is_deeply($tagger->found('engine'), [], 'the index agrees');
wait_until('an empty trash', 60, sub { !glob("$dir/.weft/trash/*") });
my $export = json_decode($tagger->call('GET', '/export', {})->{body});
my %node = map { $_->{id} => 1 } @{ $export->{nodes} };
is((grep { !$node{ $_->{from} } || !$node{ $_->{to} } } @{ $export->{edges} }), 0, 'an export is whole');
like($tagger->call('GET', '/export', { format => 'graphml' })->{body}, qr{</graphml>\n\z}, 'also as GraphML');

# ---- again
$id = $tagger->get('/file', path => 'park/roses/pruning-guide.txt')->{id};
$tagger->wait_idle();
$tagger->stop();
$tagger->start();
is($tagger->wait_idle()->{done}, 0, 'a restart reads nothing again');
is($tagger->get('/file', path => 'park/roses/pruning-guide.txt')->{id}, $id, 'and knows the files');
is($tagger->call('GET', '/nothing', {})->{code}, 404, 'other paths are not there');
is($tagger->call('POST', '/search', {})->{code}, 405, 'nor other methods');
# ---- completion
sub completes
{
	my ($want, $name, @words) = @_;
	is(join(' ', sort(split(/\n/, run(program('tagger'), 'complete', '--socket', "$base/sock", @words)->{out}))), $want,
		"completion: $name");
	return;
}
completes(':files query stats tag', 'first words', '');
completes('--no-ocr --no-prefetch', 'options', '--no');
completes('fanotify', 'their values', '--watch', 'f');
completes('compost', 'tags in searches', 'query', 'compo');
completes('remove', 'what is done to tags', 'tag', 'r');
completes('compost', 'tags of a file', 'tag', 'remove', "$dir/park/roses/pruning-guide.txt", 'compo');
my $bash = run(qw(bash -c), '. ' . Weft::src_dir() . "/completion/tagger; COMP_WORDS=(" . program('tagger') . q{ tag re)
COMP_CWORD=2
_tagger
echo "${COMPREPLY[@]}"});
is($bash->{out}, "remove\n", 'completion in bash') or diag($bash->{err});

is(run(program('tagger'), '--socket', "$base/sock", 'query', 'roses', 'kind:text')->{out},
	"park/roses/pruning-guide.txt\n", 'the command line finds');
$tagger->stop();
is(run(program('tagger'), '--socket', "$base/sock", '--index', "$base/index", 'query', 'roses', 'kind:text')->{out},
	"park/roses/pruning-guide.txt\n", 'also when no tagger runs');
done_testing();
