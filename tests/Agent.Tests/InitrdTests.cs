using Xunit;

namespace Mayfly.Agent.Tests;

public sealed class InitrdTests
{
    [Theory]
    [InlineData("flags\t\t: fpu vme vmx ssse3", true)]
    [InlineData("flags\t\t: fpu svm", true)]
    [InlineData("flags\t\t: fpu svme", false)]
    [InlineData("vmx flags\t: vnmi preemption_timer", false)]
    [InlineData("Features\t: fp asimd", false)]
    public void KVMs_device_file_is_made_where_the_processor_offers_virtual_machines(string line, bool offers) =>
        Assert.Equal(offers, Initrd.OffersVirtualMachines(["processor\t: 0", line]));
}
