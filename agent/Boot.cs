using System.Globalization;
using System.Security.Cryptography;
using System.Threading.Channels;
using Mayfly.Aws;
using Mayfly.Contract;

namespace Mayfly.Agent;

/// <summary>
/// The machine's life, in the order in which it happens. The numbers are those of docs/boot.md and of the console.
/// The order is held by the types: each step asks for what an earlier one returned. A step that cannot be proved
/// throws, and <see cref="Program"/> ends the machine.
/// </summary>
internal sealed class Boot(Narration narration, TimeProvider time)
{
    /// <summary>No step takes longer: the longest waits of its own are step 5's two minutes for the network and step 6's 90 s
    /// for its parameter. It also ends what a library would wait for without an end.</summary>
    private static readonly TimeSpan StepLimit = TimeSpan.FromMinutes(5);

    /// <summary>Who it was, once it is asked to stop.</summary>
    public string StoppedBy { get; set; } = "systemd";

    /// <summary>The initrd: from the kernel's first program to systemd.</summary>
    /// <returns>The folder that holds the system to become.</returns>
    public async Task<string> InitrdAsync(CancellationToken cancel)
    {
        // What the kernel did on the way to PID 1 counts as this process's time.
        var (began, used) = (Kernel.SecondsSinceStart(), Kernel.ProcessorSeconds());

        var laterModules = Task.CompletedTask;

        // 1. Verify the root.
        var root = await ProveAsync(Step.VerifyRoot, async () =>
        {
            Initrd.LoadModules("root");
            // On another processor, meanwhile. The last of them are systemd's to use, and nothing here waits for them.
            var storageModules = Task.Run(() => Initrd.LoadModules("storage"), cancel);
            laterModules = Task.Run(async () =>
            {
                await storageModules;
                Initrd.LoadModules("later");
            }, cancel);
            var parameters = KernelCommandLine.Parse(await File.ReadAllTextAsync("/proc/cmdline", cancel));
            var verified = VerifiedRoot.Open(parameters, await Initrd.WaitForRootDiskAsync(time, cancel), "/root");
            var read = verified.ReadAhead();
            await storageModules;
            narration.Reached(Step.VerifyRoot, Milestone.RootVerified, $"dm-verity sha256 {verified.RootHash}, {read >> 20} MiB read ahead");
            return verified;
        }, cancel);

        // 2. Encrypt scratch.
        var scratch = await ProveAsync(Step.EncryptScratch, async () =>
        {
            var plan = StoragePlan.For(Disk.FindAll("/sys"), root.DiskName, Initrd.MemoryBytes(), Initrd.IsBlank, out var notes);
            foreach (var note in notes)
                narration.Note(Step.EncryptScratch, note);
            var made = await Scratch.MakeAsync(plan, root, "/scratch", time, cancel);
            narration.Reached(Step.EncryptScratch, Milestone.ScratchReady, made.Description);
            return made;
        }, cancel);

        // 3. Encrypt swap.
        var swap = await ProveAsync(Step.EncryptSwap, () =>
        {
            var made = Swap.Make(scratch);
            narration.Reached(Step.EncryptSwap, Milestone.SwapReady, made.Description);
            return Task.FromResult(made);
        }, cancel);

        // 4. Lay the writable view over the root, and hand over to systemd.
        return await ProveAsync(Step.LayWritableView, async () =>
        {
            Handover.MakeFolder(Handover.Folder);
            Initrd.MakeDevices("/dev");
            Initrd.LayWritableViews(root, scratch, "/sysroot", Handover.JobRoot);
            narration.Reached(Step.LayWritableView, Milestone.ViewLaid, string.Create(CultureInfo.InvariantCulture,
                $"every write lands on scratch, the job's in a view of its own; in the initrd since {began:F3} s, {Kernel.ProcessorSeconds() - used:F3} s of CPU"));
            new Handover(root.RootHash, scratch.Description, swap.Description, Storage.Made(scratch, swap), narration.Events).Write(Handover.Folder);
            Initrd.MoveMounts("/sysroot");
            Initrd.Stay("/sysroot");
            await laterModules;
            return "/sysroot";
        }, cancel);
    }

    /// <summary>The service: from the verified copy of this program to the end of the machine's one job.</summary>
    public async Task<Ending> ServiceAsync(Handover proved, CancellationToken stop)
    {
        ArgumentNullException.ThrowIfNull(proved); // steps 1 to 4 happened
        narration.Note(Step.LearnIdentity, "the agent runs as a service");

        // 5. Learn who I am.
        var metadata = Imds.AddressFrom(Environment.GetEnvironmentVariable("AWS_EC2_METADATA_SERVICE_ENDPOINT"));
        using var http = Imds.Connect(metadata);
        var imds = new Imds(http, time);
        var role = new InstanceRole(imds, time);
        var learning = ProveAsync(Step.LearnIdentity, async () =>
        {
            await imds.WaitUntilReachableAsync(TimeSpan.FromMinutes(2), stop);
            role.ReadAhead(stop); // step 6's keys
            var naming = NameServers.WriteAsync(NameServers.State, NameServers.ResolvConf, time, stop);
            var learned = await Identity.LearnAsync(imds, stop);
            if (!await naming)
                narration.Note(Step.LearnIdentity, "the network names no name server: AWS and GitHub can be reached by address only");
            narration.Reached(Step.LearnIdentity, Milestone.IdentityLearned,
                $"{learned.InstanceId} {learned.InstanceType} {learned.AvailabilityZone} {learned.Settings.Launch}");
            return (learned, Deadlines.From(learned.Settings, Environment.GetEnvironmentVariable(Deadlines.Patience)));
        }, stop);

        // Steps 5 to 7 wait for answers; what waits for none is done meanwhile (docs/decisions/0019). Nobody enters step 8's sandbox
        // before their proofs; step 7's rules let the agent's own sockets through; step 6's signatures need OpenSSL, which is slow to load.
        var preparing = PreparedSandbox.MakeAsync();
        var loading = Task.Run(async () =>
        {
            // Not before the agent has left its unit's own cgroup: a program started there would keep that from handing controllers on.
            await Task.WhenAny(preparing);
            await ClosedDoor.LoadAsync(metadata, time, stop);
        }, CancellationToken.None);
        _ = Task.Run(() => SHA256.HashData([]), CancellationToken.None);
        var (me, deadlines) = await learning;

        // What steps 2 and 3 made by defaults, since there was no network yet, is fitted to the launch's tags (docs/decisions/0011).
        proved = await ProveAsync(Step.EncryptSwap, () => Task.FromResult(StorageFit.Apply(proved, me.Settings, narration)), stop);

        // A container engine is made ready as well, where the image has one.
        var engine = Engine.MakeAsync(preparing, me.Settings.Sudo, text => narration.Note(Step.Watch, text), time);

        var happenings = Happening.Channel();
        var closing = Task.Run(() => CloseDoorAsync(loading, metadata, me.Settings, engine, happenings.Writer, stop), CancellationToken.None);

        // 6. Take the configuration and delete it at its source.
        using var config = await ProveAsync(Step.TakeConfig, async () =>
        {
            var isParameter = me.Settings.Config == ConfigSource.Ssm;
            using var connection = role.ConnectTo(isParameter ? "ssm" : "ec2", me.Region);
            IConfigSource source = isParameter
                ? new ParameterSource(new SsmClient(connection), me.InstanceId)
                : new TagSource(imds, new Ec2Client(connection), me.InstanceId);
            return await JitConfig.TakeAsync(source, narration, time, stop);
        }, stop);

        http.Dispose(); // and with it goes what its connections have received

        // 7. Close the door.
        using var door = await ProveAsync(Step.CloseDoor, async () =>
        {
            var (closed, policy) = await closing;
            narration.Reached(Step.CloseDoor, Milestone.DoorClosed,
                $"{metadata.Host} refuses all but the agent's own marked sockets; egress: {policy.Mode.ToString().ToLowerInvariant()}");
            return closed;
        }, stop);

        // 8. Start the runner.
        await using var runner = await ProveAsync(Step.StartRunner, async () =>
        {
            var sandbox = await preparing;
            Facts.Write(me, proved, narration.Events);
            var started = Runner.Start(config, door, sandbox, await engine, me.Settings.Sudo, happenings.Writer);
            narration.Reached(Step.StartRunner, Milestone.RunnerStarted, started.Description);
            return started;
        }, stop);
        config.Dispose();

        // 9. Watch.
        using var ends = new CancellationTokenSource();
        var narrowed = DeadMan.NarrowAsync(deadlines, runner.Spoken, text => narration.Note(Step.Watch, text), time, ends.Token);
        using var asking = Imds.Connect(metadata);
        var gauge = new Gauge(Runner.Work, runner.Cgroup, Facts.HighWater, text => narration.Note(Step.Watch, text), time);
        var lookout = new Lookout(
            new WorkerWatch(runner.Cgroup, Runner.Diagnostics, "/proc", time),
            new SpotWatch(new Imds(asking, time), Imds.ProbeOf(metadata), text => narration.Note(Step.Watch, text), time), gauge, time);
        using var stopping = stop.Register(() => _ = happenings.Writer.WriteAsync(new Happening.StopRequested(StoppedBy)).AsTask());
        if (me.Settings.Check)
            _ = TellGuaranteesAsync(narrowed);
        var ending = await Supervision.WatchAsync(runner, lookout, happenings, deadlines, narration, time, CancellationToken.None);
        await ends.CancelAsync();
        await narrowed;
        gauge.Look();
        narration.Note(Step.Watch, $"at most: {gauge.HighWater.Format()}");
        // GitHub does not tell a runner that it is too old for jobs.
        return ending == Ending.Idle(deadlines.Idle) ? ending with { Detail = $"{ending.Detail}, or the runner is too old for GitHub: {Facts.DescribeRunner()}" } : ending;

        // 10. End: Program says why and switches the machine off.
    }

    private async Task<(ClosedDoor Door, EgressPolicy Policy)> CloseDoorAsync(
        Task loading, Uri metadata, LaunchSettings settings, Task<Engine?> engine, ChannelWriter<Happening> happenings, CancellationToken stop)
    {
        var policy = EgressPolicy.From(settings, File.ReadLines(EgressPolicy.ImageList));
        // One that cannot be made is step 8's to tell.
        await engine.ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        return (await ClosedDoor.CloseAsync(loading, metadata, policy, engine.IsCompletedSuccessfully ? await engine : null, settings.Sudo, text => narration.Note(Step.Watch, text),
            serving => Supervision.Keep(serving, "the job's name server", happenings), time, stop), policy);
    }

    /// <summary>For people: what is wrong is told, and nothing waits for it.</summary>
    /// <param name="narrowed">The last of what is looked at.</param>
    private async Task TellGuaranteesAsync(Task narrowed)
    {
        await narrowed;
        foreach (var guarantee in await new Check(time).AllAsync(CancellationToken.None))
            narration.Note(Step.Watch, $"check {guarantee}");
        try
        {
            // Lines such as "1.234s systemd-udevd.service", the longest first.
            var units = await Command.RunAsync("/usr/bin/systemd-analyze", ["blame", "--no-pager"], input: null, TimeSpan.FromSeconds(30), time, CancellationToken.None);
            narration.Note(Step.Watch, "systemd took: " + string.Join(", ", units.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Take(20)));
        }
        catch (CommandException e)
        {
            narration.Note(Step.Watch, $"systemd does not tell how long its units took: {e.Message}");
        }
    }

    /// <summary>Runs a step; whatever goes wrong in it, and that it does not end, ends the machine in that step's name, but for what
    /// <paramref name="stop"/> cancels: that is no fault of the step.</summary>
    internal async Task<T> ProveAsync<T>(Step step, Func<Task<T>> act, CancellationToken stop)
    {
        try
        {
            // On another thread: most of a step is system calls, and one that the kernel does not come back from looks at no clock.
            var acting = Task.Run(act);
            using var acted = new CancellationTokenSource();
            if (await Task.WhenAny(acting, Task.Delay(StepLimit, time, acted.Token)) != acting)
                throw new EndingException(Ending.NotProved(step, $"'{step.Name}' did not end within {StepLimit.TotalSeconds:F0} s"));
            await acted.CancelAsync();
            return await acting;
        }
        catch (OperationCanceledException e) when (stop.IsCancellationRequested)
        {
            throw new EndingException(Ending.Stopped(StoppedBy) with { Step = step }, e);
        }
        catch (Exception e) when (e is not EndingException)
        {
            throw new EndingException(Ending.NotProved(step, e.Message), e);
        }
    }
}
