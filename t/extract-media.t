#!/usr/bin/perl
# Pictures, sound and video that ffmpeg made just now: what is found in them, their thumbnails and sprites,
# text in pictures; and broken, huge and lying ones.
use strict;
use warnings;
use utf8;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Encode qw(encode);
use JSON::PP ();
use Test::More;
use Weft;

binmode(Test::More->builder->$_, ':utf8') for qw(output failure_output todo_output);
my $extract = build_dir() . '/t/tools/extract';
my $workers = build_dir() . '/tagger/worker';
skip_all('extract-media is not built') if !-x $extract || !-x "$workers/extract-media";
skip_all('ffmpeg is not installed') if !have('ffmpeg');
my $dir = temp_dir();

sub run_extract { return run({ timeout => 120 }, $extract, '--workers', $workers, @_) }

sub extract
{
	my ($args, @files) = @_;
	my $r = run_extract(@$args, map { "$dir/$_" } @files);
	return { map { my $g = JSON::PP::decode_json($_); $g->{file} =~ m{([^/]+)$}; ($1 => $g) } split(/\n/, $r->{out}) };
}

sub ffmpeg { my ($out, @args) = @_; run_ok('ffmpeg', '-v', 'error', '-y', @args, "$dir/$out"); return $out }
sub has { my ($g, @stems) = @_; my %s = map { $_->{stem} => 1 } @{ $g->{tags} }; return join(' ', grep { !$s{$_} } @stems) }
sub facts { my ($g, @keys) = @_; return join(' ', map { $g->{facts}{$_} // '-' } @keys) }

# How many of 64 bits differ.
sub distance
{
	my ($x, $y) = map { $_->{phash} } @_;
	return 64 if !defined $x || !defined $y;
	return unpack('%32b*', pack('H*', $x) ^ pack('H*', $y));
}

# Width and height of a JPEG.
sub jpeg_size
{
	my ($bytes) = @_;
	return '' if $bytes !~ /^\xff\xd8/s || $bytes !~ /\xff[\xc0\xc2]..\x08(..)(..)/s;
	return unpack('n', $2) . 'x' . unpack('n', $1);
}

# ---- pictures ----------------------------------------------------------------

my @fractal = (-f => 'lavfi', -i => 'mandelbrot=s=800x600', '-frames:v', 1);
ffmpeg('fractal.jpg', @fractal);
ffmpeg('small.png', -i => "$dir/fractal.jpg", -vf => 'scale=320:240');
ffmpeg('dark.jpg', -i => "$dir/fractal.jpg", -vf => 'eq=brightness=-0.1', '-q:v', 12);
ffmpeg($_, -i => "$dir/small.png") for qw(small.gif small.bmp small.tiff);
ffmpeg('bars.png', -f => 'lavfi', -i => 'testsrc2=s=400x300', '-frames:v', 1);
ffmpeg('red.png', -f => 'lavfi', -i => 'color=red:s=300x200', '-frames:v', 1);
ffmpeg('sky.png', -f => 'lavfi', -i => 'color=0x3080f0:s=300x200', '-vf', 'drawbox=y=140:h=60:color=0x207020:t=fill', '-frames:v', 1);
ffmpeg('large.png', -f => 'lavfi', -i => "color=gray:s=12000x9000", "-pix_fmt", "monob", '-frames:v', 1);
spew("$dir/cut.png", substr(slurp("$dir/small.png"), 0, 2000));
spew("$dir/head.png", substr(slurp("$dir/small.png"), 0, 20));
# a PNG that says that it is 60000 x 60000
my $lie = slurp("$dir/small.png");
substr($lie, 16, 8) = pack('NN', 60000, 60000);
spew("$dir/lie.png", $lie);
spew("$dir/odd.heic", pack("N", 24) . "ftypheic" . pack("N", 0) . "mif1heic" . "x" x 300);
spew("$dir/noise.jpg", "\xff\xd8\xff\xe0" . join('', map { chr(($_ * 7919 + ($_ >> 3)) % 251) } 1 .. 5000));
ffmpeg('camera.jpg', -i => "$dir/fractal.jpg");
my $exif = have('exiv2');
run_ok('exiv2', '-M', 'set Exif.Image.Make NIKON CORPORATION', '-M', 'set Exif.Image.Model D750', '-M',
    'set Exif.Photo.LensModel 50mm f/1.8', '-M', 'set Exif.Photo.DateTimeOriginal 2021:06:05 14:30:00', '-M',
    'set Exif.Image.Orientation 6', '-M', 'set Exif.Image.Artist Vivian', '-M',
    'set Exif.GPSInfo.GPSLatitude 48/1 51/1 24/1', '-M', 'set Exif.GPSInfo.GPSLatitudeRef N', '-M',
    'set Exif.GPSInfo.GPSLongitude 2/1 21/1 6/1', '-M', 'set Exif.GPSInfo.GPSLongitudeRef W', '-M', 'set Xmp.dc.subject beach holiday', '-M', 'set Xmp.dc.subject Bretagne', "$dir/camera.jpg") if $exif;

my $got = extract([], qw(fractal.jpg small.png dark.jpg small.gif small.bmp small.tiff bars.png red.png sky.png
    large.png cut.png head.png lie.png noise.jpg camera.jpg odd.heic));
my $g = $got->{'fractal.jpg'};
is("$g->{kind} " . facts($g, qw(width height)), 'image 800 600', 'a picture has its size');
is(has($g, 'jpeg'), '', 'and its format');
for my $other (qw(small.png dark.jpg small.gif small.bmp small.tiff)) {
	cmp_ok(distance($g, $got->{$other}), '<=', 6, "$other looks like it");
}
cmp_ok(distance($g, $got->{'bars.png'}), '>', 12, 'another picture does not');
is($got->{'red.png'}{phash}, undef, 'one colour all over looks like nothing');
like($got->{'red.png'}{facts}{colour}, qr/^#f[c-f]0[0-2]0[0-2]$/, 'but has its colour');
like($got->{'sky.png'}{facts}{colour}, qr/^#[23]..[0-9a-f]{3,}/, 'the largest colour comes first');
is($got->{'large.png'}{why}, 'the picture is too large', 'a hundred megapixels are not decoded');
is(facts($got->{'large.png'}, 'width'), 12000, 'but their number is known');
ok(defined $got->{$_}{why}, "$_ fails: " . ($got->{$_}{why} // '')) for qw(head.png lie.png noise.jpg);
is("$got->{'odd.heic'}{kind} " . ($got->{"odd.heic"}{why} // "fine"), "image fine", "a kind of picture that nobody here reads is no failure");
is($got->{'cut.png'}{kind}, 'image', 'a truncated picture is survived');
SKIP: {
	skip("exiv2 is not installed", 5) if !$exif;
	$g = $got->{'camera.jpg'};
	is(facts($g, qw(camera lens author)), 'NIKON D750 50mm f/1.8 Vivian', 'camera, lens and author');
	is(facts($g, 'date'), 1622903400, 'when it was taken');
	is(sprintf('%.3f %.3f', @{ $g->{facts} }{qw(latitude longitude)}), '48.857 -2.352', 'and where');
	is(has($g, "beach holiday", "bretagn"), "", "keywords that somebody gave it");
	is(facts($g, qw(orientation width height)), '6 600 800', 'which way is up');
}

# ---- thumbnails and sprites --------------------------------------------------

sub picture
{
	my ($file, @args) = @_;
	unlink("$dir/out.jpg");
	my $r = run_extract(@args, '--out', "$dir/out.jpg", "$dir/$file");
	return json_decode($r->{out})->{error} == 0 ? jpeg_size(slurp("$dir/out.jpg")) : json_decode($r->{out})->{error};
}

ffmpeg('film.mp4', -f => 'lavfi', -i => 'testsrc=s=640x360:d=6', -f => 'lavfi', -i => 'sine=440:d=6', -metadata =>
    'title=Bridge film', -metadata => 'artist=Ann', -metadata => 'date=2020-02-03', '-c:v' => 'mpeg4', '-g' => 25);
is(picture('fractal.jpg', '--picture', '200x200'), '200x150', 'a thumbnail keeps the shape');
is(picture('small.png', '--picture', '900x900'), '320x240', 'and is never larger than the picture');
is(picture('camera.jpg', '--picture', '200x200'), '150x200', 'it is upright') if $exif;
is(picture('film.mp4', '--picture', '320x320'), '320x180', 'a video has one too');
is(picture('film.mp4', '--sprite', '4x3'), '640x270', 'and a sprite of its whole length');
like(picture("cut.png", "--picture", "64x64"), qr{^(?:64x48|-95)$}, "a truncated one is shown as far as it goes, or not");
is(picture('head.png', '--picture', '64x64'), -95, 'what has no picture says so');

# ---- sound and video ---------------------------------------------------------

my @song = (-f => 'lavfi', -i => 'sine=440:d=2', -metadata => 'title=Blue song', -metadata => 'artist=The Larks',
    -metadata => 'album=Dawn', -metadata => 'genre=Folk', -metadata => 'date=1999');
ffmpeg('song.flac', @song);
ffmpeg('song.ogg', @song, '-c:a', 'flac');
ffmpeg('song.mp3', @song, '-c:a', 'mp3') if `ffmpeg -v error -encoders 2>/dev/null` =~ /libmp3lame/;
ffmpeg('song.wav', -f => 'lavfi', -i => 'sine=440:d=2');
spew("$dir/cut.mp4", substr(slurp("$dir/film.mp4"), 0, 5000));
spew("$dir/cut.flac", substr(slurp("$dir/song.flac"), 0, 20000));
my @songs = grep { -f "$dir/$_" } qw(song.flac song.ogg song.mp3);
$got = extract([], qw(film.mp4 song.wav cut.mp4 cut.flac), @songs);
$g = $got->{'film.mp4'};
is("$g->{kind} " . facts($g, qw(title artist width height codec date)), 'video Bridge film Ann 640 360 mpeg4 1580688000',
    'video: facts');
is(sprintf('%.0f', $g->{facts}{duration}), 6, 'video: length');
like($g->{phash}, qr/^[0-9a-f]{16}$/, 'video: looks');
for my $song (@songs) {
	$g = $got->{$song};
	is("$g->{kind} " . facts($g, qw(title artist album genre)), 'audio Blue song The Larks Dawn Folk', "$song: facts");
}
is(sprintf('%.0f', $got->{'song.wav'}{facts}{duration}), 2, 'wav: length');
ok(defined $got->{'cut.mp4'}{why}, 'a film without its index fails: ' . ($got->{'cut.mp4'}{why} // ''));
is($got->{'cut.flac'}{facts}{title}, 'Blue song', 'the head of a truncated song is read');

# ---- speech ------------------------------------------------------------------

SKIP: {
	skip("espeak-ng or the models of PocketSphinx are not installed", 2)
	    if !have("espeak-ng") || !-d "/usr/share/pocketsphinx/model/en-us";
	run_ok("espeak-ng", "-s", 120, "-w", "$dir/spoken.wav", "hello world. open the window and close the door.");
	my @spoken = map { extract($_, "spoken.wav")->{"spoken.wav"} } [], ["--speech"];
	ok(!grep({ $_->{source} eq "speech" } @{ $spoken[0]{tags} }), "nobody listens unasked");
	ok((grep { $_->{source} eq "speech" } @{ $spoken[1]{tags} }), "asked, words are heard: $spoken[1]{excerpt}");
}

# ---- text in pictures --------------------------------------------------------

my ($latin) = grep { -f } '/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf';
my ($han) = grep { -f } '/usr/share/fonts/truetype/wqy/wqy-microhei.ttc';
SKIP: {
	skip('no font to write text with', 2) if !$latin;
	my $text = "drawtext=fontfile=$latin:fontsize=36:x=20:y=40:text=Quarterly report on harbour dredging";
	ffmpeg('text.png', -f => 'lavfi', -i => 'color=white:s=900x200', -vf => $text, '-frames:v', 1);
	is(extract(['--ocr'], 'text.png')->{'text.png'}{tags}[0]{source}, 'ocr', 'text in a picture is read');
	is(has(extract(['--ocr'], 'text.png')->{'text.png'}, qw(harbour dredg quarter)), '', 'and understood');
	is(has(extract([], 'text.png')->{'text.png'}, 'harbour'), 'harbour', 'but only when asked for');
	is(has(extract(['--ocr'], 'fractal.jpg')->{'fractal.jpg'}, 'jpeg'), '', 'a picture without text has none');
	skip('no font for Chinese', 1) if !$han;
	ffmpeg('han.png', -f => 'lavfi', -i => 'color=white:s=900x200', '-frames:v', 1, -vf =>
	    encode('UTF-8', "drawtext=fontfile=$han:fontsize=40:x=20:y=40:text=知识图谱连接文件和标签"));
	is(has(extract(['--ocr'], 'han.png')->{'han.png'}, qw(知识 连接 文件 标签)), '', 'in Chinese too');
}
done_testing();
