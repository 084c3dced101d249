namespace Mayfly.Lab.Ec2;

/// <summary>What the lab knows of a type. Prices in US dollars an hour.</summary>
/// <param name="OnDemand">About what it costs in us-east-1 in 2025; what matters is which is cheaper.</param>
internal sealed record InstanceType(string Name, int VCpus, int MemoryMiB, string Architecture, decimal OnDemand)
{
    /// <summary>Some of EC2's, of every kind that attribute-based selection tells apart.</summary>
    public static readonly IReadOnlyDictionary<string, InstanceType> Catalogue = new InstanceType[]
    {
        new("t3.medium", 2, 4096, "x86_64", 0.0416m), new("t3.large", 2, 8192, "x86_64", 0.0832m), new("t4g.medium", 2, 4096, "arm64", 0.0336m),
        new("m4.large", 2, 8192, "x86_64", 0.1m), new("m5d.large", 2, 8192, "x86_64", 0.113m), new("m6i.large", 2, 8192, "x86_64", 0.096m),
        new("m6i.xlarge", 4, 16384, "x86_64", 0.192m), new("m6id.large", 2, 8192, "x86_64", 0.11865m),
        new("m7i.large", 2, 8192, "x86_64", 0.1008m), new("m7i.xlarge", 4, 16384, "x86_64", 0.2016m), new("m7i.2xlarge", 8, 32768, "x86_64", 0.4032m),
        new("m7i.4xlarge", 16, 65536, "x86_64", 0.8064m), new("m7i.metal-24xl", 96, 393216, "x86_64", 4.8384m),
        new("m7a.large", 2, 8192, "x86_64", 0.11592m), new("m7a.xlarge", 4, 16384, "x86_64", 0.23184m), new("m7a.2xlarge", 8, 32768, "x86_64", 0.46368m),
        new("m7a.4xlarge", 16, 65536, "x86_64", 0.92736m),
        new("m7g.large", 2, 8192, "arm64", 0.0816m), new("m7g.xlarge", 4, 16384, "arm64", 0.1632m), new("m7g.2xlarge", 8, 32768, "arm64", 0.3264m),
        new("c7i.large", 2, 4096, "x86_64", 0.08925m), new("c7i.xlarge", 4, 8192, "x86_64", 0.1785m), new("c7i.2xlarge", 8, 16384, "x86_64", 0.357m),
        new("c7i.4xlarge", 16, 32768, "x86_64", 0.714m), new("c7i.8xlarge", 32, 65536, "x86_64", 1.428m),
        new("c7a.large", 2, 4096, "x86_64", 0.10264m), new("c7a.xlarge", 4, 8192, "x86_64", 0.20528m), new("c7a.2xlarge", 8, 16384, "x86_64", 0.41056m),
        new("c7g.large", 2, 4096, "arm64", 0.0725m), new("c7g.xlarge", 4, 8192, "arm64", 0.145m), new("c7g.2xlarge", 8, 16384, "arm64", 0.29m),
        new("r7i.large", 2, 16384, "x86_64", 0.1323m), new("r7i.xlarge", 4, 32768, "x86_64", 0.2646m), new("r7i.2xlarge", 8, 65536, "x86_64", 0.5292m),
        new("r7g.large", 2, 16384, "arm64", 0.1071m), new("g5.xlarge", 4, 16384, "x86_64", 1.006m),
    }.ToDictionary(t => t.Name);

    public string Family => Name.Split('.')[0];

    public bool IsBareMetal => Name.Contains(".metal", StringComparison.Ordinal);

    public bool IsBurstable => Name[0] == 't';

    public bool HasAccelerator => Name[0] == 'g';

    public bool IsCurrent => Name[0] != 't' ? Name[1] >= '5' : true;

    public bool HasInstanceStore => Family.EndsWith('d');

    public string CpuManufacturer => Family.Contains('g', StringComparison.Ordinal) && Architecture == "arm64" ? "amazon-web-services" : Family.EndsWith('a') ? "amd" : "intel";

    /// <summary>EC2 has hundreds more: one that is not in the catalogue counts as a small one.</summary>
    public static InstanceType Of(string name) => Catalogue.GetValueOrDefault(name) ?? new InstanceType(name, 2, 8192, "x86_64", 0.1m);
}
