"""Where names stand now that pickles written before 0.1.0 hold, by the module they stood in.

It stays for one release: it goes with 0.2.0, and with it the call of `moved_names`.
"""

MOVED = {
    "_axes.if_array": "._filters.if_array:if_array",
    "_closure.ClosureConverted": "._tracing.closure_convert:ClosureConverted",
    "_grad.GradWrapper": "._derivatives.grad:GradWrapper",
    "_jacobian.JacobianWrapper": "._derivatives.jacobian:JacobianWrapper",
    "_jvp.Pullback": "._derivatives.jvp_and_vjp:Pullback",
    "_options.JitOptions": "._jit.options:JitOptions",
    "_options._Frozen": "._jit.options:_Frozen",
    "_pmap.PmapWrapper": "._mapping.pmap:PmapWrapper",
    "_progress.NoProgressMeter": "._reverse_loops.progress_meters:NoProgressMeter",
    "_progress.TextProgressMeter": "._reverse_loops.progress_meters:TextProgressMeter",
    "_progress.TqdmProgressMeter": "._reverse_loops.progress_meters:TqdmProgressMeter",
    "_staging.CheckpointWrapper": "._derivatives.checkpoint:CheckpointWrapper",
    "_staging.MakeJaxprWrapper": "._tracing.make_jaxpr:MakeJaxprWrapper",
    "_vmap.VmapWrapper": "._mapping.vmap:VmapWrapper",
}
