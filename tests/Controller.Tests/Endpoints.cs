namespace Mayfly.Controller.Tests;

/// <summary>Where AWS is stands in the process's environment: tests that set it there run one after the other.</summary>
internal static class Endpoints
{
    /// <summary>Of the collection that they are in.</summary>
    public const string Collection = "AWS's address in the environment";
}
