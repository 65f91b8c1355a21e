# How much sockets may hold (net.core.rmem_max): a limit of the machine, which no network namespace may change. So
# it is opened before a test is in one, and only one test at a time may have it.
package Weft::Room;

use strict;
use warnings;

use Fcntl qw(LOCK_EX LOCK_NB);
use Weft;
use Weft::Hosts;

use constant { FILE => '/proc/sys/net/core/rmem_max', WANTED => 4 << 20, WAIT_S => 300 };

my ($fh, $limit);

sub set
{
	my ($bytes) = @_;
	sysseek($fh, 0, 0);
	return syswrite($fh, "$bytes\n");
}

# At least as much as volmgr wants for reads of servers on other machines.
sub enough { return set($limit < WANTED ? WANTED : $limit) }

# As Weft::Hosts::enter(), and sees to it that there is enough room until the end.
sub enter
{
	my (@args) = @_;
	if (($ENV{WEFT_HOSTS_INSIDE} // '') ne $$) {
		local $^F = 1000; # exec keeps it, and the lock
		open($fh, '+<', FILE) or skip_all(FILE . ": $!");
		$ENV{WEFT_RMEM_MAX_FD} = fileno($fh);
		wait_until('other tests that change ' . FILE, WAIT_S, sub { flock($fh, LOCK_EX | LOCK_NB) });
		Weft::Hosts::enter(@args);
	}
	open($fh, '+<&=', $ENV{WEFT_RMEM_MAX_FD}) or die "the limit is not open: $!\n";
	$limit = slurp(FILE) + 0;
	enough() or skip_all("net.core.rmem_max is $limit and cannot be changed");
	at_end(sub { set($limit) });
	return;
}

1;
