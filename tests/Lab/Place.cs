using Mayfly.Lab.Ec2;
using Mayfly.Lab.Machines;
using Mayfly.Lab.Ssm;

namespace Mayfly.Lab;

/// <summary>One account's EC2 and SSM in one region. The lab's own is <see cref="Lab.Home"/>; tests open others with
/// <see cref="Lab.PlaceIn"/>, and reach them by a role of that account and by the region that they sign for.</summary>
internal sealed class Place
{
    public Place(string account, string region, Func<Instance, IMachine?> machine, Journal journal, TimeProvider time)
    {
        (Account, Region) = (account, region);
        Ssm = new SsmService(region, account, journal, time);
        Images = new Images(account, Ssm, time);
        Templates = new LaunchTemplates(Images, time);
        Fleet = new Fleet(region, account, Templates, Images, new MachineFactory(machine), journal, time);
        Ec2 = new Ec2Service(Templates, Fleet, journal, time);
    }

    public string Account { get; }

    public string Region { get; }

    public Images Images { get; }

    public LaunchTemplates Templates { get; }

    public Fleet Fleet { get; }

    public Ec2Service Ec2 { get; }

    public SsmService Ssm { get; }
}
