namespace Mayfly.Lab.GitHub;

internal enum MisdeliveryKind
{
    /// <summary>It is never sent, and the delivery log knows nothing of it.</summary>
    Lost,

    /// <summary>It reaches nobody, and the delivery log has it as failed.</summary>
    Failed,

    /// <summary>It comes late; what is sent after it does not wait for it.</summary>
    Late,

    /// <summary>It comes twice, under one delivery id.</summary>
    Twice,

    /// <summary>It comes after the next one.</summary>
    Overtaken,
}

/// <summary>What goes wrong with a delivery on its way. Given by <see cref="Webhooks.Misdeliver"/>.</summary>
internal sealed record Misdelivery(MisdeliveryKind Kind, TimeSpan By = default)
{
    public static Misdelivery Lost { get; } = new(MisdeliveryKind.Lost);

    public static Misdelivery Failed { get; } = new(MisdeliveryKind.Failed);

    public static Misdelivery Twice { get; } = new(MisdeliveryKind.Twice);

    public static Misdelivery Overtaken { get; } = new(MisdeliveryKind.Overtaken);

    public static Misdelivery Late(TimeSpan by) => new(MisdeliveryKind.Late, by);
}
