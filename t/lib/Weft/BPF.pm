# The eBPF maps of a daemon, to break what only the kernel could break.
package Weft::BPF;

use strict;
use warnings;

use Weft;

# The number of its map whose name is this, or matches this pattern; dies when it has none.
sub map_id
{
	my ($pid, $name) = @_;
	my %seen;
	for my $file (glob("/proc/$pid/fdinfo/*")) {
		my ($id) = (eval { slurp($file) } // '') =~ /^map_id:\s*(\d+)$/m or next;
		next if $seen{$id}++;
		my $map = json_decode(run_ok(tool('bpftool'), '-j', qw(map show id), $id));
		return $id if ($map->{name} // '') =~ (ref $name ? $name : qr{\A\Q$name\E\z});
	}
	die "process $pid has no map '$name'\n";
}

sub bytes { return map { sprintf('%02x', $_) } unpack('C*', $_[0]) }

# key and value as the kernel has them.
sub map_delete
{
	my ($id, $key) = @_;
	run_ok(tool('bpftool'), qw(map delete id), $id, qw(key hex), bytes($key));
	return;
}

sub map_lookup
{
	my ($id, $key) = @_;
	my $got = json_decode(run_ok(tool('bpftool'), '-j', qw(map lookup id), $id, qw(key hex), bytes($key)));
	return pack('C*', map { hex } @{ $got->{value} });
}

sub map_update
{
	my ($id, $key, $value) = @_;
	run_ok(tool('bpftool'), qw(map update id), $id, qw(key hex), bytes($key), qw(value hex), bytes($value));
	return;
}

1;
