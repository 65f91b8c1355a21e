#!/usr/bin/perl
# The layers of the design: a foreign library has one place in the project, daemons do not know each other,
# and no file grows beyond what a reader can hold.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use File::Find;
use Test::More;
use Weft;

use constant LINES_MAX => 800;

# Who may include what: header => pattern of files.
my %place = (
	'liburing\.h' => qr{^lib/uring[^/]*\.[ch]$},
	'leveldb/.*' => qr{^lib/kv\.c$},
	'liberasurecode/.*' => qr{^lib/ec[^/]*\.[ch]$},
	'(?:isa-l|isa-l/.*|erasure_code|crc|raid)\.h' => qr{^lib/(?:ec[^/]*\.[ch]|crc32c\.c)$},
	'event2/(?:http|buffer|bufferevent|listener|keyvalq).*' => qr{^(?:lib|volmgr|tagger)/http[^/]*\.[ch]$},
	'event2/(?:event|thread|util).*' => qr{^(?:lib/http|lib/control|volmgr/http)[^/]*\.[ch]$},
	'(?:bpf/(?:lib)?bpf.*|linux/bpf\.h)' => qr{^(?:bpf|t/bench)/},
	'libnbd\.h' => qr{^t/},
	'unicode/.*' => qr{^tagger/worker/segment\.c$},
	'libstemmer\.h' => qr{^tagger/worker/stem\.c$},
	'magic\.h' => qr{^tagger/worker/sniff\.c$},
	'archive(?:_entry)?\.h' => qr{^tagger/(?:worker/archive|api-archive)\.c$},
	'(?:seccomp|linux/landlock)\.h' => qr{^tagger/worker/sandbox\.c$},
	'libxml/.*' => qr{^tagger/worker/markup\.c$},
	'zip\.h' => qr{^tagger/worker/zipped\.c$},
	'poppler\.h' => qr{^tagger/worker/extract-pdf\.c$},
	'cairo.*' => qr{^tagger/worker/extract-pdf\.c$},
	'gmime/.*' => qr{^tagger/worker/extract-mail\.c$},
	'lib(?:av|sw)[a-z]*/.*' => qr{^tagger/worker/av[^/]*\.[ch]$},
	'libexif/.*' => qr{^tagger/worker/exif\.c$},
	'tesseract/.*' => qr{^tagger/worker/ocr\.c$},
	'(?:pocketsphinx\.h|sphinxbase/.*)' => qr{^tagger/worker/speech\.c$},
	'xxhash\.h' => qr{^lib/hash\.c$},
	'curl/.*' => qr{^lib/http-client\.c$},
	'openssl/(?:ssl|err)\.h' => qr{^lib/http-tls\.c$},
	'openssl/(?!ssl|err).*' => qr{^(?:lib/nbd/auth|lib/secret|lib/digest)\.c$},
	'(?:crypt|zlib)\.h' => qr{^(?:lib/password|lib/gzip)\.c$},
);

my $src = Weft::src_dir();
my (@c, @all);
find({ no_chdir => 1, wanted => sub {
	my $path = $File::Find::name =~ s{^\Q$src\E/}{}r;
	if (-d $File::Find::name) {
		$File::Find::prune = 1
		    if $path =~ m{(?:^|/)(?:\.git|autom4te\.cache|build[^/]*|weft-[^/]*|node_modules)$}
		    || ($path ne $src && -e "$File::Find::name/config.status" && $File::Find::name ne $src);
		return;
	}
	return if !-f $File::Find::name;
	push @c, $path if $path =~ m{^(?:lib|nbdsrv|volmgr|tagger|bpf|t)/.*\.[ch]$};
	push @all, $path if $path =~ m{^(?:lib|nbdsrv|volmgr|tagger|bpf|t|www|man|completion|systemd)/}
	    && $path !~ m{^t/(?:fuzz|slow)/corpus/|^t/layers\.t$} && -T $File::Find::name;
} }, $src);
push @all, grep { -f "$src/$_" } qw(README.md README.zh-CN.md HACKING configure.ac Makefile.am quickstart check);
cmp_ok(@c, '>', 10, 'there are sources to look at');

is_deeply([grep { m{^t/.*\.t$} && !-B "$src/$_" && !-x "$src/$_" } @all], [], "test scripts can be run");

my (@stray, @daemon, @banned, @config);
for my $path (@c) {
	my $text = slurp("$src/$path");
	my $test = $path =~ m{^t/};
	for my $header ($text =~ /^\s*#\s*include\s*[<"]([^>"]+)[>"]/mg) {
		for my $known (keys %place) {
			push @stray, "$path includes $header"
			    if $header =~ /^$known$/ && $path !~ $place{$known} && !$test;
		}
		my ($own) = $path =~ m{^(nbdsrv|volmgr|tagger|lib|bpf)/};
		push @daemon, "$path includes $header"
		    if defined $own && $header =~ m{(?:^|/)(nbdsrv|volmgr|tagger)/} && $1 ne $own;
		# by its bare name too: the folders of daemons are in the include path of their own files
		push @daemon, "$path includes $header"
		    if defined $own && $own eq 'lib' && $header =~ m{^(?:store|stripe|meta|volctl)[./]};
	}
	push @banned, $path if !$test && $text =~ /\b(?:strcpy|strcat|sprintf|vsprintf|strtok|atoi|gets)\s*\(/
	    && $path ne 'lib/banned.h';
	push @config, $path if $path =~ /\.c$/ && $path !~ m{\.bpf\.c$}
	    && (($text =~ /^\s*#\s*include\s*[<"]([^>"]+)/m)[0] // 'config.h') ne 'config.h';
}
is_deeply(\@stray, [], 'each foreign library is included in its own place only');
is_deeply(\@daemon, [], 'daemons do not include each other, and lib includes none');
is_deeply(\@banned, [], 'calls that lib/banned.h forbids are not there');
is_deeply(\@config, [], 'config.h is the first thing that each .c includes');

my (@long, @words);
for my $path (@all) {
	my $text = slurp("$src/$path");
	my $lines = () = $text =~ /\n/g;
	push @long, "$path: $lines" if $lines > LINES_MAX && $path !~ m{\.(?:md|[1-9])$};
	push @words, "$path: $1" if $text =~ /\b(TODO|FIXME|XXX)\b/;
}
is_deeply(\@long, [], 'no file has more than ' . LINES_MAX . ' lines');
is_deeply(\@words, [], 'nothing is left for later in a comment');

done_testing();
