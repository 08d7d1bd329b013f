"""The channel profiles: how simulated persons arrive by each channel, and how likely each of their steps is."""

from dataclasses import dataclass

from gtm_dagster.channels import classify


@dataclass(frozen=True)
class Arrival:
    """One way to arrive: the context of the first event. `share` is its weight among the arrivals of its profile."""

    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    referrer: str | None = None
    click_id: str | None = None
    share: float = 1.0

    @property
    def channel(self) -> str:
        """The channel name the product gives to this arrival."""
        touch = classify(self.source, self.medium, self.campaign, self.referrer, self.click_id)
        return "Direct" if touch.rank is None else touch.channel

    @property
    def rank(self) -> int:
        """1 with a named source, 2 with a referrer only, 0 with neither (direct)."""
        touch = classify(self.source, self.medium, self.campaign, self.referrer, self.click_id)
        return touch.rank or 0


@dataclass(frozen=True)
class ChannelProfile:
    """Persons of one acquisition channel. Each step (`signup` ... `payment`) is its chance given the step before.

    `share` is of first visits, `return_share` of later visits of anybody.
    """

    arrivals: tuple[Arrival, ...]
    share: float
    return_share: float
    signup: float
    onboarding: float
    first_value: float
    payment: float


CHANNEL_PROFILES: tuple[ChannelProfile, ...] = (
    ChannelProfile((Arrival(),), 0.20, 0.42, 0.16, 0.62, 0.66, 0.30),
    ChannelProfile(
        (
            Arrival(referrer="https://www.google.com/", share=4),
            Arrival(referrer="https://www.bing.com/", share=1),
            Arrival(referrer="https://duckduckgo.com/", share=0.6),
        ),
        0.22, 0.16, 0.20, 0.66, 0.70, 0.34,
    ),
    ChannelProfile(
        (
            Arrival("google", "cpc", "brand", "https://www.google.com/", "gclid:CjwKCAexample", 2),
            Arrival("google", "cpc", "competitors", "https://www.google.com/", "gclid:CjwKCAexample", 2),
            Arrival("bing", "cpc", "brand", "https://www.bing.com/", "msclkid:0a1b2cexample", 0.7),
        ),
        0.18, 0.11, 0.26, 0.60, 0.62, 0.38,
    ),
    ChannelProfile(
        (
            Arrival("facebook", "paid_social", "lookalike", "https://www.facebook.com/", "fbclid:IwAR0example", 2),
            Arrival("linkedin", "paid_social", "founders", "https://www.linkedin.com/", share=1),
        ),
        0.14, 0.06, 0.09, 0.45, 0.48, 0.18,
    ),
    ChannelProfile(
        (Arrival(referrer="https://www.linkedin.com/", share=1), Arrival("twitter", "social", "launch", share=1)),
        0.08, 0.05, 0.13, 0.55, 0.60, 0.22,
    ),
    ChannelProfile((Arrival("newsletter", "email", "onboarding_tips"), Arrival("newsletter", "email", "product_news")), 0.05, 0.15, 0.30, 0.74, 0.78, 0.44),
    ChannelProfile(
        (Arrival(referrer="https://blog.stackbuilders.example/"), Arrival(referrer="https://reviews.saas.example/top-tools")),
        0.07, 0.03, 0.24, 0.70, 0.72, 0.36,
    ),
    ChannelProfile((Arrival("partnerhub", "affiliate", "spring"),), 0.03, 0.01, 0.22, 0.58, 0.60, 0.33),
    ChannelProfile((Arrival("adnetwork", "display", "retargeting"),), 0.03, 0.01, 0.05, 0.40, 0.45, 0.15),
)  # fmt: skip
"""The default market."""
