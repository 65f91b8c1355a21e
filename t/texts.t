#!/usr/bin/perl
# What volmgr and tagger say to people is said in Chinese on a Chinese page: each code has words in text-zh.js, and
# each sentence of the sources its own in said-zh.js, with the values in it. The page's own code translates them all.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Test::More;
use Weft;

my $src = src_dir();
my %MACROS = (API_PREFIX => '/api/v1/', JSON_TYPE => 'application/json', PRIu64 => 'u',
	VOL_FENCED_WHY => 'another volmgr owns it now',
	VOL_OLDER_WHY => 'its metadata is older than what the servers know');
# which argument is the sentence; those behind it are its values
my %SAY = (refuse => 3, refuse_hint => 1, parse_refuse => 1, api_error => 3, api_errno => 2, change_new => 2,
	wpeer_cut => 1, parse_fail => 1, client_fail => 2, vol_failed => 1, out_fail => 1);
my $TEXT = qr/"(?:[^"\\]|\\.)*"/;

# The arguments of a call, from behind its bracket.
sub arguments
{
	my ($rest) = @_;
	my ($depth, @args) = (0, '');
	while ($rest =~ /\G($TEXT|'(?:[^'\\]|\\.)*'|.)/gs) {
		my $piece = $1;
		$depth++ if $piece =~ /\A[(\[{]\z/;
		last if $piece =~ /\A[)\]}]\z/ && $depth-- == 0;
		if ($piece eq ',' && $depth == 0) {
			push(@args, '');
		} else {
			$args[-1] .= $piece;
		}
	}
	return @args;
}

# The texts of an expression; what stands side by side is one.
sub texts
{
	my ($expression) = @_;
	my @found;
	my $macro = join('|', keys %MACROS);
	while ($expression =~ /((?:\s*(?:$TEXT|\b(?:$macro)\b))+)/g) {
		my $pieces = $1;
		my $text = '';
		$text .= defined($1) ? $1 : $MACROS{$2} while $pieces =~ /"((?:[^"\\]|\\.)*)"|(\w+)/g;
		push(@found, $text =~ s/\\"/"/gr) if $pieces =~ /"/;
	}
	return @found;
}

# "%u of %s" as the page has it.
sub template { return $_[0] =~ s/%[-0-9.*]*(?:zu|ll?u|[sudcx%])/$& eq '%%' ? '%' : '{}'/ger }

my (%sentences, %codes);
for my $file (map { glob("$src/$_") } 'volmgr/*.c', 'tagger/*.c', 'tagger/worker/*.c', 'lib/nbd/client*.c') {
	next if $file =~ m{/(?:volctl|cli|keep|attach)[^/]*\z};
	my $text = slurp($file) =~ s{/\*.*?\*/}{}gsr;
	my $names = join('|', keys %SAY);
	while ($text =~ /(?<![\w"])($names)\(/g) {
		my ($name, @args) = ($1, arguments(substr($text, pos($text))));
		next if @args <= $SAY{$name} || $args[0] =~ /\bstruct\b|\bvoid\b/;
		my @said = texts($args[ $SAY{$name} ]);
		@said = map { texts($_) } @args[ $SAY{$name} + 1 .. $#args ] if "@said" eq '%s';
		$sentences{ template($_) } = $file for @said;
		$codes{$_} = $file for $name =~ /\A(?:refuse|api_error)\z/ ? $args[2] =~ s/strcmp\(.*?\)//r =~ /"(\w+)"/g : ();
	}
	$sentences{ template($_) } = $file for map { my @a = arguments($_); texts($a[2] // '') } $text =~ /snprintf\((?=\s*st->(?:message|hint))(.*?;)/gs;
}
# tables, and what is chosen between
my %table = ('volmgr/moving.c' => qr/\[MOVES_NO_\w+\] = \{(.*?)\}/s, 'tagger/api-refuse.c' => qr/\n\t\{(?:-E\w+, \d+, )?"\w+",(.*?)\}/s,
	'volmgr/api.c' => qr/\n\t\t\{\d+, (".*?")\}/s, 'volmgr/tickets.c' => qr/\[TICKET_\w+\] = (".*?")/s);
for my $file (sort keys %table) {
	my @said = map { texts($_ =~ s/,\s*(?=")/;/gr) } slurp("$src/$file") =~ /$table{$file}/g;
	cmp_ok(scalar @said, '>', 2, "$file has a table of sentences");
	$sentences{$_} = $file for @said;
}
$codes{$_} = 'tagger/api-refuse.c' for slurp("$src/tagger/api-refuse.c") =~ /\n\t\{(?:-E\w+, \d+, )?"(\w+)"/g;
# why reads are not routed, and why a file is not read
for my $file (map { glob("$src/$_") } 'bpf/loader-*.c', 'bpf/selftest.c', 'volmgr/route.c', 'tagger/pool-worker.c', 'tagger/scan-read.c', 'tagger/worker/*.c') {
	my $text = slurp($file) =~ s{/\*.*?\*/}{}gsr;
	my $why = $file =~ m{/bpf/} ? qr/\*why =|\breturn/ : qr/\*why =/;
	$sentences{ template($_) } = $file for map { texts($_) } $text =~ /(?:$why)((?:$TEXT|[^;"])*);/g;
	$sentences{ template($_) } = $file for map { my @a = arguments($_); texts($a[2]) } $text =~ /snprintf\((?=why, )(.*?;)/gs;
}
delete @sentences{ grep { /\A[^a-z]*\z/ } keys %sentences }; # "%s"
cmp_ok(scalar keys %sentences, '>', 230, 'the sources have sentences');
cmp_ok(scalar keys %codes, '>', 80, 'and codes');
ok($sentences{'There is a volume {} already.'} && $sentences{'it takes too long'} && $sentences{'no cgroup2 file system is mounted'} && $sentences{'no space is left on the disk'} && $sentences{'{} of {} servers {} not up: {} is {}.'},
	'as they are known to stand there');

my $page = slurp("$src/www/js/text-zh.js");
my ($refusals) = $page =~ /^\trefusals: \{(.*?)^\t\},/ms;
my %known = map { $_ => 1 } $refusals =~ /(\w+): '/g;
is_deeply([ grep { !$known{$_} } sort keys %codes ], [], 'each code has words of its own in text-zh.js');
# what no code of ours says any more; a function chooses between two
is_deeply([ grep { !$codes{$_} } sort keys %known ], [], 'and there are none without a code');

my %chinese;
my $list = slurp("$src/www/js/said-zh.js");
my $word = qr/'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"/;
while ($list =~ /\[$word, $word(?:, 'part')?\]/g) {
	my ($from, $to) = ($1 // $2, $3 // $4);
	ok(!defined $chinese{$from}, "once: $from") if defined $chinese{$from};
	$chinese{$from} = $to;
	my $values = () = $from =~ /\{\}/g;
	fail("a value that is not there: $to") if grep { $_ < 1 || $_ > $values } $to =~ /\{(\d+)~?\}/g;
	fail("no Chinese: $to") if $to =~ /\{\}/ || $to !~ /[\x80-\xff]/ && $to !~ /\A\{/;
}
is_deeply([ map { "$sentences{$_}: $_" } grep { !defined $chinese{$_} } sort keys %sentences ], [], 'each sentence of the sources has its Chinese in said-zh.js');

# the page's code, on what the daemons would say
SKIP: {
	my $node = tool('node');
	skip('node is not here', 1) if !$node;
	my $dir = temp_dir();
	spew("$dir/t.mjs", <<"END");
globalThis.localStorage = { getItem: () => 'zh', setItem: () => {} };
globalThis.document = { documentElement: {} };
const { inWords } = await import('file://$src/www/js/i18n.js');
const { Refused } = await import('file://$src/www/js/api.js');
const says = (code, message, hint) => { const r = new Refused(409, { code, message, hint }); return `\${r.message} \${r.hint}`; };
console.log(says('name_taken', 'There is a volume a.b already.', 'Choose another name, or see: volctl volume show a.b'));
console.log(says('full', 'The upload: no space is left on the disk.', ''));
console.log(says('servers_away', '4+2 needs 6 servers, and only 5 of 6 are up. Not up: server-1.', 'x'));
console.log(says('no_such_share', 'Something that is said since yesterday.', 'And what to do.'));
console.log(says('brand_new', 'Something that is said since yesterday.', 'And what to do.'));
console.log(inWords('1 of 6 servers is not up: server-1 is down (it did not answer for 40 ms).'));
console.log(inWords('Volume v cannot be used: its extent map is damaged.'));
console.log(inWords('the worker that read it crashed: Segmentation fault', undefined, true));
console.log(inWords('switched off by --bpf off', undefined, true));
END
	my $got = run({ timeout => 60 }, $node, "$dir/t.mjs");
	is($got->{out}, <<'END', 'values are in their places, and what is not known is said by its code, or as it is') or diag($got->{err});
已有卷 a.b。 请换一个名称，或查看：volctl volume show a.b
上传：磁盘空间已满。 
4+2 需要 6 台服务器，6 台中只有 5 台在线。不在线的：server-1。 x
没有这个分享。 And what to do.
Something that is said since yesterday. And what to do.
6 台服务器中有 1 台不在线：server-1 的状态为“离线”（它 40 毫秒没有应答）。
卷 v 无法使用：其区段映射已损坏。
读取它的进程崩溃：段错误
已用 --bpf off 关闭
END
}
done_testing();
