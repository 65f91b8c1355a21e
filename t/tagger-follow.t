#!/usr/bin/perl
# What tagger does beside answering: it follows when more happens than the kernel tells of, stays within its file
# system, tells of changes, reads ahead, keeps what users say of files without its index, and sleeps when there
# is nothing to do. And what its answers are good for: pictures, archives, exports, help.
use strict;
use warnings;
use Fcntl qw(F_SETFD);
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Path qw(make_path remove_tree);
use Test::More;
use Time::HiRes qw(time);
use Weft;
use Weft::Tagger;

use constant { IDLE_S => 4, IDLE_TURNS => 5, MADE => 400 };

need(qw(tagger curl));
my $base = temp_dir();
my $dir = "$base/tree";
make_path("$dir/zh", "$dir/odd", "$dir/busy");
spew("$dir/zh/one.txt", '分布式存储系统使用纠删码保护数据。知识图谱连接文件。知识图谱说明文件的关系。');
spew("$dir/zh/two.txt", '知识图谱连接人物和地点。知识图谱的关系由标签给出。');
my $boats = join(' ', map { "Chapter $_. A boat needs a sail and an anchor, the harbour needs a light number $_, and sailors tell storm @{[ $_ * 7 ]} from wind." } 1 .. 30);
spew("$dir/boat.txt", $boats);
spew("$dir/boat2.txt", "$boats Ahoy, says the captain.");
spew("$dir/odd/car.txt", 'Cars have engines. Engines need oil. ' x 8);

my $tagger = Weft::Tagger->new(dir => $dir, base => $base);
$tagger->wait_idle();
sub cli { return run(program('tagger'), '--socket', "$base/sock", @_) }

# ---- typing
for my $typed ('知识', '图谱') {
	my @tags = map { $_->{tag} } @{ $tagger->get('/suggest', q => $typed)->{tags} };
	ok((grep { $_ eq '知识图谱' } @tags), 'suggestions in Chinese, of a beginning and of a part') or diag("@tags");
}
is_deeply($tagger->found('知识图谱'), [ 'zh/one.txt', 'zh/two.txt' ], 'and searches');

# ---- the command line says how to ask
my $help = cli('query', '--help');
is($help->{status}, 0, 'tagger query --help');
my $man = slurp(src_dir() . '/man/tagger.8') =~ s/\\-/-/gr;
is_deeply([ grep { index($man, $_) < 0 } $help->{out} =~ /\b([a-z]+:)/g ], [], 'names nothing that the manual does not');
is_deeply([ grep { index($help->{out}, $_) < 0 } ($man =~ /^\.SH SEARCHES(.*?)^\.SH/ms)[0] =~ /\\fB([a-z]+:)/mg ], [],
	'and all that it does');
is(cli('query')->{status}, 2, 'without words that is the usage');
like(cli('query')->{err}, qr/kind:image/, 'which is shown');
like(cli('query', '(x')->{err}, qr/bracket.*query --help/s, 'a mistake is named, and where the help is');
like(cli('stats')->{out}, qr/^prefetch\.(?:on +no|hits +\d+\n.*prefetch\.waste +\d+)$/ms, 'stats show what reading ahead gained');

# ---- what a user says outlives the index
is($tagger->call('POST', '/file/tags', { path => 'boat.txt' }, '{"pin":["flagship"],"add":["summer"],"remove":["anchor"]}')->{code}, 200, 'a pinned tag');
is($tagger->tags('boat.txt')->{flagship}{source}, 'hand', 'is there');
$tagger->stop();
remove_tree("$base/index");
$tagger->start();
$tagger->wait_idle();
my $tags = $tagger->tags('boat.txt');
ok($tags->{flagship} && $tags->{summer} && !$tags->{anchor}, 'without the index it comes from the file again');
like($tagger->call('GET', '/file', { path => 'boat.txt' })->{body}, qr/flagship/, 'and is told');
is($tagger->get('/neighbours', path => 'boat.txt')->{files}[0]{path}, 'boat2.txt', 'a text that is nearly the same is nearest');
ok((grep { $_ eq 'text' } @{ $tagger->get('/neighbours', path => 'boat.txt')->{files}[0]{why} }), 'and known as such');

# ---- pictures, archives, exports
SKIP: {
	skip('ffmpeg is not there', 12) if !tool('ffmpeg');
	run_ok('ffmpeg', '-v', 'error', '-y', '-f', 'lavfi', '-i', 'testsrc2=duration=3:size=320x180:rate=10', "$dir/film.mp4");
	run_ok('ffmpeg', '-v', 'error', '-y', '-f', 'lavfi', '-i', 'mandelbrot=size=640x480', '-frames:v', 1, "$dir/shore.png");
	run_ok('ffmpeg', '-v', 'error', '-y', '-i', "$dir/shore.png", '-vf', 'scale=320:240', '-q:v', 8, "$dir/odd/smaller.jpg");
	$tagger->wait_for('the pictures', sub { @{ $tagger->found('kind:image is:done') } == 2 && @{ $tagger->found('kind:video is:done') } });
	my ($near) = grep { $_->{path} eq 'odd/smaller.jpg' } @{ $tagger->get('/neighbours', path => 'shore.png')->{files} };
	ok($near && (grep { $_ eq 'picture' } @{ $near->{why} }), 'a picture that looks the same is near, in another folder and format');
	my $made = $tagger->get('/status')->{workers}{pictures};
	for my $twice (1, 2) {
		my $sprite = $tagger->call('GET', '/sprite', { path => 'film.mp4', columns => 3, rows => 2, width => 100, height => 100 });
		like("$sprite->{code} " . substr($sprite->{body}, 0, 3), qr/^200 \xff\xd8\xff/, 'a sprite of a film');
	}
	is($tagger->get('/status')->{workers}{pictures} - $made, 1, 'is made once');
	is($tagger->call('GET', '/thumbnail', { path => 'shore.png', width => 64, height => 64 })->{code}, 200, 'a thumbnail');
	is($tagger->call('GET', '/thumbnail', { path => 'boat.txt', width => 64, height => 64 })->{code}, 404, 'not of what has no picture');
	$made = $tagger->get('/status')->{workers}{pictures};
	my %sizes = map { $tagger->call('GET', '/thumbnail', { path => 'shore.png', width => $_ * 19, height => $_ * 13 })->{body} => 1 } 1 .. 100;
	# one that is larger than the picture is the picture
	%sizes = (%sizes, map { $tagger->call('GET', '/sprite', { path => 'film.mp4', columns => 1 + $_ % 10, rows => 1 + $_ % 7, width => 3 * $_ })->{body} => 1 } 0 .. 100);
	is(scalar keys %sizes, 4 + 4, 'however many sizes are asked for, there are few');
	is($tagger->get('/status')->{workers}{pictures} - $made, 4 + 3, 'each of which is made once');
	is(scalar(my @kept = glob("$base/index.cache/*")), 5 + 4, 'and kept once');
	$made = $tagger->get('/status')->{workers}{pictures};
	run_ok('curl', '-sS', '--parallel', '--parallel-immediate', '--unix-socket', "$base/sock", map { ("http://x/thumbnail?path=odd/smaller.jpg&width=512", '-o', "$base/t$_") } 1 .. 8);
	is($tagger->get('/status')->{workers}{pictures} - $made, 1, 'nor more than once for many who ask at the same time');
	is(scalar(grep { slurp("$base/t$_") eq slurp("$base/t1") && -s "$base/t$_" } 1 .. 8), 8, 'each of whom has it');
	spew("$dir/torn.png", substr(slurp("$dir/shore.png"), 0, 5000));
	$tagger->wait_for('the torn one', sub { @{ $tagger->found('name:torn.png') } && !@{ $tagger->found('name:torn.png is:waiting') } });
	$made = $tagger->get('/status')->{workers}{pictures};
	my @torn = map { $tagger->call('GET', '/thumbnail', { path => 'torn.png' })->{code} } 1 .. 5;
	cmp_ok($tagger->get('/status')->{workers}{pictures} - $made, '<=', 1, 'what cannot be made is not tried again and again') or diag("@torn");
}
my $zip = $tagger->call('GET', '/archive', undef, undef, '--url-query', 'path=boat.txt', '--url-query', 'path=zh', '--url-query', 'format=zip');
spew("$base/a.zip", $zip->{body});
like(run('perl', '-MArchive::Zip', '-e', '1')->{status} == 0
	? run_ok('perl', '-MArchive::Zip', '-e', 'print join("\n", Archive::Zip->new(shift)->memberNames)', "$base/a.zip")
	: $zip->{body}, qr{boat\.txt.*zh/two\.txt}s, 'several files as one archive');
my ($boat, $none) = ($tagger->get('/file', path => 'boat.txt')->{id}, 4_000_000_000);
spew("$base/a.tar", $tagger->call('GET', "/archive?id=$none,$boat&path=gone.txt&path=zh")->{body});
is(run_ok('tar', 'tf', "$base/a.tar") =~ s/^zh.*\n//mgr, "boat.txt\n", 'by their numbers, too, and what is gone is left out');
is($tagger->call('GET', "/archive?$_")->{code}, 404, "nothing is no archive ($_)") for "id=$none", 'path=gone.txt';
is($tagger->call('GET', "/archive?$_")->{code}, 400, "nor is this ($_)") for '', 'id=', "id=$boat,x", "id=$boat,", 'id=' . join(',', ($none) x 1001);
is($tagger->call('GET', '/archive?id=' . join(',', ($none) x 999, $boat))->{code}, 200, 'a thousand may be asked for');
my $xml = $tagger->call('GET', '/export', { format => 'graphml', relations => 1 })->{body};
SKIP: {
	skip('xmllint is not there', 1) if !tool('xmllint');
	is(run({ stdin => $xml }, 'xmllint', '--noout', '-')->{status}, 0, 'GraphML is XML');
}
like($xml, qr{<edge source="f\d+" target="f\d+"}, 'with relations');

# ---- the same place and time
SKIP: {
	skip('exiv2 or ffmpeg is not there', 1) if !tool('exiv2') || !tool('ffmpeg');
	make_path("$dir/camera", "$dir/phone");
	my $n = 0;
	# what is in it has nothing to do with the others; 200 metres and an hour lie between the first two
	for my $shot ([ 'camera/a.jpg', '2021:06:05 14:30:00', 48.8571, 2.3522 ], [ 'phone/b.jpg', '2021:06:05 15:20:00', 48.8575, 2.3494 ],
		[ 'camera/c.jpg', '2019:01:02 09:00:00', 35.0116, 135.7681 ], [ 'phone/d.jpg', '2021:06:05 14:30:00', -33.8600, 151.2100 ]) {
		my ($name, $date, @degrees) = @$shot;
		run_ok('ffmpeg', '-v', 'error', '-y', '-f', 'lavfi', '-i', ('testsrc=size=320x240', 'mandelbrot=size=320x240', 'smptebars=size=320x240',
			'rgbtestsrc=size=320x240')[$n++], '-frames:v', 1, "$dir/$name");
		my @where = map { sprintf('%d/1 %d/1 %d/100', abs($_), abs($_) * 60 % 60, (abs($_) * 3600 - int(abs($_) * 60) * 60) * 100) } @degrees;
		run_ok('exiv2', '-M', "set Exif.Photo.DateTimeOriginal $date", '-M', 'set Exif.GPSInfo.GPSLatitudeRef ' . ($degrees[0] < 0 ? 'S' : 'N'),
			'-M', "set Exif.GPSInfo.GPSLatitude $where[0]", '-M', 'set Exif.GPSInfo.GPSLongitudeRef E',
			'-M', "set Exif.GPSInfo.GPSLongitude $where[1]", "$dir/$name");
	}
	$tagger->wait_for('the photographs', sub { @{ $tagger->found('day:2021-06-05 | tag:day:2021-06-05') } >= 3 && $tagger->wait_idle() });
	is($tagger->get('/neighbours', path => 'camera/a.jpg')->{files}[0]{path}, 'phone/b.jpg', 'the nearest photograph is of the same place and day')
	    or diag(json_encode($tagger->get('/file', path => 'camera/a.jpg')->{tags}), json_encode($tagger->get('/file', path => 'phone/b.jpg')->{tags}));
}
utime(1714694400, 1714694400, "$dir/odd/car.txt");
$tagger->wait_for('another date', sub { "@{ $tagger->found('date:2024-05') }" eq 'odd/car.txt' });
is_deeply($tagger->found($_), ['odd/car.txt'], $_) for 'date:2024-05-03', 'date:2024-05..2024-07', 'date:<2024-06 kind:text', 'date:2023..2024-05-03';
is_deeply($tagger->found($_), [], $_) for 'date:2024-05-04', 'date:2024-06..2024-07', 'date:>2024-05-03 name:car';

# ---- changes as they happen
my $pid = open(my $events, '-|', 'curl', '-sN', '-m', 300, '--unix-socket', "$base/sock", 'http://tagger/events') or die "curl: $!\n";
at_end(sub { kill('KILL', $pid) if $pid });
sub heard
{
	my ($change, $path) = @_;
	local $SIG{ALRM} = sub { die "not heard: $change of $path\n" };
	alarm(90);
	while (defined(my $line = <$events>)) {
		last if $line =~ /^data: .*"path":"\Q$path\E".*"change":"$change"/;
	}
	alarm(0);
	pass("heard: $change of $path");
	return;
}
my $first = <$events>;
open(my $new, '>', "$dir/zeppelin.txt") or die;
print $new 'Zeppelins are airships.';
close($new);
heard('added', 'zeppelin.txt');
rename("$dir/zeppelin.txt", "$dir/airship.txt") or die;
heard('moved', 'airship.txt');
unlink("$dir/airship.txt");
heard('removed', 'airship.txt');
kill('KILL', $pid);
undef $pid;
close($events);

# ---- another file system below is not entered
SKIP: {
	skip('this needs root', 3) if $> != 0;
	make_path("$dir/odd/mnt");
	run_ok('mount', '-t', 'tmpfs', 'weft-test', "$dir/odd/mnt");
	spew("$dir/odd/mnt/elsewhere.txt", 'Submarines dive. ' x 9);
	$tagger->stop();
	$tagger->start();
	$tagger->wait_idle();
	is_deeply($tagger->found('submarines | name:elsewhere'), [], 'what is mounted below is not read');
	is($tagger->call('GET', '/content', { path => 'odd/mnt/elsewhere.txt' })->{code}, 404, 'nor given out');
	is($tagger->call('POST', '/mkdir', { path => 'odd/mnt/new' })->{code}, 404, 'nor changed');
	run_ok('umount', "$dir/odd/mnt");
}
$tagger->stop();

# ---- more happens than the kernel keeps
for my $how ('fanotify', 'inotify') {
	$tagger->{args} = [ '--watch', $how ];
	$tagger->start();
	my $status = $tagger->wait_idle();
	SKIP: {
		skip("$how cannot be had here", 3) if $status->{follows} !~ /^$how/;
		kill('STOP', $tagger->{daemon}{pid});
		spew("$dir/busy/a", '');
		my $queue = slurp("/proc/sys/fs/$how/max_queued_events");
		rename("$dir/busy/a", "$dir/busy/a0") or die;
		for (1 .. $queue + 100) {
			rename("$dir/busy/a" . ($_ - 1), "$dir/busy/a$_") or die;
		}
		rename("$dir/busy/a" . ($queue + 100), "$dir/busy/a") or die;
		spew("$dir/busy/late-$how.txt", "The lateness of $how trains. ");
		kill('CONT', $tagger->{daemon}{pid});
		$tagger->wait_for('what came last', sub { @{ $tagger->found("name:late-$how is:done") } });
		pass("$how: what nobody told of is found");
		cmp_ok($tagger->get('/status')->{overflows}, '>', 0, 'as all was looked at again');
		$tagger->wait_idle();
		is_deeply([ grep { m{/} } @{ $tagger->found('in:busy') } ], [ sort map { "busy/$_" } map { s{.*/}{}r } glob("$dir/busy/*") ],
			'and the index has what is there');
	}
	$tagger->stop();
}

# ---- reading ahead; what leaves the cache does so through files opened before, as every opening is seen
sub forget
{
	my ($fh) = @_;
	my $fd = fileno($fh);
	fcntl($fh, F_SETFD, 0) or die "fcntl: $!";
	run_ok('sh', '-c', "exec dd iflag=nocache count=0 status=none <&$fd");
	return;
}
SKIP: {
	skip('fincore is not there', 2) if !tool('fincore');
	my @pair = ("$dir/odd/ahead-one.txt", "$dir/odd/ahead-two.txt");
	my %open;
	for my $file (@pair, "$base/ahead") {
		spew($file, 'Windmills grind grain. Millers own windmills. ' x 5000);
		run_ok('sync', $file);
		open($open{$file}, '<', $file) or die "$file: $!";
	}
	forget($open{"$base/ahead"});
	skip('files do not leave the cache here', 2) if run_ok('fincore', '-bno', 'RES', "$base/ahead") > 0;
	$tagger->{args} = [];
	$tagger->start();
	my $ahead = $tagger->wait_idle()->{prefetch};
	skip('who opens a file is not told here', 2) if !$ahead->{on};
	forget($open{$_}) for @pair;
	slurp($pair[0]);
	$tagger->wait_for('reading ahead', sub { $tagger->get('/status')->{prefetch}{files} > $ahead->{files} });
	pass('when a file is opened the nearest one is read ahead');
	slurp($pair[1]);
	$tagger->wait_for('a hit', sub { $tagger->get('/status')->{prefetch}{hits} > $ahead->{hits} });
	pass('and opened it is a hit');
	$tagger->stop();
}

# ---- on a terminal
SKIP: {
	skip('script is not there', 2) if !tool('script');
	spew("$dir/busy/$_.txt", "Page $_ of the logbook. " x 50) for 1 .. 400;
	my $seen = run('script', '-qec', join(' ', program('tagger'), '--once', '--index', "$base/once", '--workers-dir',
		build_dir() . '/tagger/worker', $dir), '/dev/null');
	is($seen->{status}, 0, 'tagger --once on a terminal');
	like($seen->{out}, qr{\r\d+ files, \d+ read, \d+ waiting, \d+ failed, \d+ files/s}, 'shows how far it is');
}

# ---- files that are seen when they are made, and written while they are looked at
$tagger->{args} = [];
$tagger->start();
$tagger->wait_idle();
make_path("$dir/made");
my $seed = $ENV{WEFT_SEED} // int(time);
note("seed $seed");
srand($seed);
my @made = map { "$dir/made/$_.txt" } 1 .. MADE;
for (@made) {
	open(my $fh, '>', $_) or die "$_: $!";
	my $until = time + rand(0.0006);
	1 while time < $until;
	print $fh "A logbook of the lighthouse.\n";
	close($fh) or die;
}
$tagger->wait_for('all of them in the index', sub { @{ $tagger->found('in:made', limit => MADE) } == MADE });
$tagger->wait_idle();
is_deeply($tagger->found('in:made kind:empty', limit => MADE), [], 'none is taken for empty');
remove_tree("$dir/made");

# ---- nothing to do, when what was done before is over
$tagger->wait_for('the end of these files', sub { !@{ $tagger->found('name:made') } });
$tagger->wait_idle();
sub used { my @f = split(/ /, slurp("/proc/$tagger->{daemon}{pid}/stat") =~ s/.*\) //r); return $f[11] + $f[12] }
sub woken
{
	my $n = 0;
	$n += (slurp($_) =~ /^voluntary_ctxt_switches:\s+(\d+)/m)[0] for glob("/proc/$tagger->{daemon}{pid}/task/*/status");
	return $n;
}
my ($used, $woken);
for (1 .. IDLE_TURNS) { # LevelDB may put something in order by itself
	my @before = (used(), woken());
	select(undef, undef, undef, IDLE_S); # this is what is measured
	($used, $woken) = (used() - $before[0], woken() - $before[1]);
	last if $used <= 1 && $woken <= 2 * IDLE_S;
}
cmp_ok($used, '<=', 1, 'an idle tagger takes no processor time');
cmp_ok($woken, '<=', 2 * IDLE_S, 'nor wakes up all the time') or diag($woken);
$tagger->stop();
done_testing();
